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

use actix_web::http::Method;

/// What is offered and where: the part of the table of routes that the documents about this server are made of. The table itself stands
/// above the endpoints and hands it down.
#[derive(Debug)]
pub struct Offers(pub Vec<Offer>);

/// One row of it.
#[derive(Debug)]
pub struct Offer {
    /// The method.
    pub method: Method,
    /// The path, where the issuer has none.
    pub path: &'static str,
    /// Whether it stands at the root of the host whatever the issuer's path.
    pub at_root: bool,
}

impl Offers {
    /// Whether anything answers at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.0.iter().any(|offer| offer.path == path)
    }
}
