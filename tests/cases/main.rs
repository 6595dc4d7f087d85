//! The cases: one test binary, one module a subject. A name is a claim; a case that fails shows where the claim is wrong.

mod chromium;
mod house;
mod properties;
