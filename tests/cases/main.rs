//! The cases: one test binary, one module a subject. A name is a claim; a case that fails shows where the claim is wrong.

mod attacks;
mod chromium;
mod cli;
mod documents;
mod flows;
mod foreign_app;
mod house;
mod instances;
mod jwks;
mod linearizable;
mod oidc;
mod openapi;
mod operations;
mod postgres;
mod processes;
mod properties;
mod races;
mod restart;
mod rfc6749;
mod rfc7009;
mod rfc7636;
mod rfc7662;
mod rfc8414;
mod rfc9068;
mod slow;
mod throttling;
