//! The API behind the guard: one file an endpoint. This is the part that a fork replaces.

pub mod body;
pub mod document_id;
pub mod documents;
pub mod health;
pub mod openapi;
pub mod schemas;
pub mod scopes;
pub mod share;
pub mod timestamp;
pub mod whoami;
