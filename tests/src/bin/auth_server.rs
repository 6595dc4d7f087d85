//! The authorization server as a process of its own, built together with the cases.

fn main() {}
