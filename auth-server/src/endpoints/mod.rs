//! What the server answers on: one file an endpoint, its path beside its handlers. The table of routes is in [`crate::server`].
//!
//! No endpoint uses another; what the pages share is in `pages`.

pub mod authorize;
pub mod consent;
pub mod end_session;
pub mod health;
pub mod introspect;
pub mod jwks;
pub mod logged_out;
pub mod login;
pub mod metadata;
pub mod openapi;
pub mod revoke;
pub mod token;
pub mod userinfo;

mod pages;
