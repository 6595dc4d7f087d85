//! The schema over the versions of both servers: what was released never changes, older databases go on, and so do older builds.

mod beside;
mod fixture;
mod frozen;
mod making;
mod older;
