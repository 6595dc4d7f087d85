//! The OAuth 2.0 Authorization Framework (RFC 6749) with what OAuth 2.1 and RFC 8707 make of it, endpoint by endpoint.

mod authorize;
mod clients;
mod code;
mod credentials;
mod refresh;
mod resources;
mod scope;
mod token;
