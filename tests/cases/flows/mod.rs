//! Whole flows: through client libraries that we did not write, and through every page a person may meet on the way.

mod foreign;
mod https;
mod logs;
mod meanwhile;
mod pages;
mod prompts;
mod sign_out;
mod whole;
