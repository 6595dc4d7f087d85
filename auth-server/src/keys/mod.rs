//! Keys: the vault of our own secrets, key pairs that sign, the ring that holds them, and the plan by which they change.

mod master_key;
pub mod ring;
pub mod rotation;
mod sealing;
pub mod signer;
pub mod vault;
mod verifier;

#[cfg(test)]
mod tests;
