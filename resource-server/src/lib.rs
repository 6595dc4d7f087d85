//! The resource server: an API that opens only to a valid access token. It trusts issuers, never calls one for a request, and knows
//! nothing of how tokens are made.
//!
//! Read in this order: [`guard`], the library that a fork keeps; [`server`], the road of a request and all routes; [`endpoints`], the sample
//! API that a fork replaces; [`store`], its rows; [`config`], [`app`] and [`cli`], how it is put together and run.

pub mod app;
pub mod cli;
pub mod config;
pub mod endpoints;
pub mod error;
pub mod guard;
pub mod metrics;
pub mod server;
pub mod store;

pub use app::{App, Ports, StartFault};
pub use cli::run;
pub use config::Settings;
pub use server::{Running, spawn};
