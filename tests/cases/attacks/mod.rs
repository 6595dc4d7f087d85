//! Attacks that have worked on others, each against a whole resource server: the status, the challenge, and which check refused.

mod claims;
mod edge;
mod keys;
mod signature;
mod size;
