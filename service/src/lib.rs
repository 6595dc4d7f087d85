//! What both servers need as long-running programs: log lines, TLS with reload, health check, limits, access log. Knows nothing of OAuth.
//!
//! It holds what would have to be mended twice if it stood in each server, and no more: routes, answers, errors and the list of settings
//! are each server's own, and so are the sentences that a server says about itself. A server uses this crate, never the other server.

pub mod connections;
pub mod duration;
mod entrance;
pub mod healthcheck;
pub mod listener;
pub mod log_format;
mod log_writer;
pub mod metrics;
mod patience;
pub mod process;
pub mod proxies;
pub mod requests;
pub mod settings;
pub mod tls;
pub mod unread;
mod workers;
