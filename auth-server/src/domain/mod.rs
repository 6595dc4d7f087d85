//! Nouns and their rules, without I/O: `now` and randomness are arguments.

pub mod account;
pub mod api;
pub mod audience;
pub mod authorization_request;
pub mod client;
pub mod consent;
pub mod display_text;
pub mod grant;
pub mod password;
pub mod pkce;
pub mod redirect_uri;
pub mod registry;
pub mod row_id;
pub mod secret;
pub mod session;
pub mod signing_key;
pub mod throttle;
