//! Properties of the parsers that read what strangers send: nothing panics, nothing ambiguous gets through.

mod requests;
mod vocabulary;
