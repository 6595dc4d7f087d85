//! From claims to the text that goes out, and back from a text that claims to be ours.

pub mod access_token;
pub mod id_token;
pub mod opaque;
mod remembered;
pub mod verified;

#[cfg(test)]
mod tests;
