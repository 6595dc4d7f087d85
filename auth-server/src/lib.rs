//! The authorization server: it checks people and clients in and hands out tokens.
//!
//! The road of a request: [`server`] lists every route → [`params`] reads form and query once → [`client_auth`] says who asks →
//! `endpoints` name the steps → `grants` decide, one file for each grant type → `store` makes it durable in one unit of work →
//! `tokens` sign what goes out. Rules about nouns are in `domain`, without I/O. Layers point down only.

pub mod app;
pub mod apply;
pub mod client_auth;
pub mod config;
pub mod domain;
pub mod endpoints;
pub mod error;
pub mod freshness;
pub mod grants;
pub mod keys;
pub mod metrics;
pub mod params;
pub mod random;
pub mod server;
pub mod store;
pub mod tasks;
pub mod tokens;

mod cli;

pub use app::{App, Ports, StartFault};
pub use cli::run;
pub use config::Settings;
pub use random::{OsRandom, SecureRandom, SeededRandom};
pub use server::{Running, spawn};

// Grants and endpoints write to the security log as to one of their own: which crate it stands in is no concern of theirs.
use service::log_format;
