//! What is true of PostgreSQL alone: how a server finds it, what it says while it is away, and that it understands every statement.

mod outage;
mod silence;
mod start;
mod statements;
mod tls;
