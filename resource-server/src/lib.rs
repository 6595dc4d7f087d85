//! The resource server: opens a door only to a valid token. The road of a request is told in `server`; the guard stands alone in [`guard`].

pub mod guard;
