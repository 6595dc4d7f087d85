//! Attacks that have worked on others, each against a whole server: the status, the challenge, and which check refused.

mod authorization;
mod claims;
mod cookies;
mod doors;
mod edge;
mod forms;
mod keys;
mod seats;
mod signature;
mod size;
mod unread;
mod wycheproof;
