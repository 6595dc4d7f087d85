//! What breaks under a server: its disk, its file, a row of it, the clock. The answer is a clear error or the right one, never a wrong one.
//!
//! What is about a file is about SQLite's; PostgreSQL's outages are in `postgres`. Spoilt rows and clocks are about either engine.

mod clock;
mod disk;
mod mount;
mod room;
mod rows;
mod torn;

use database::{Database, DatabaseError};
use tests::background;
use tests::engine::Engine;
use tests::world::World;

/// The handle of the running authorization server.
fn database(world: &World) -> Database {
    world.auth.running.app().database.clone()
}

/// Runs one statement, written for SQLite, on the server's own writing connection.
async fn tamper(world: &World, statement: &'static str) -> Vec<database::Row> {
    let statement = match Engine::chosen() {
        Engine::Sqlite => statement,
        // The one literal that the engines write differently.
        Engine::Postgres => statement.replace("x'", "'\\x").leak(),
    };
    let database = database(world);
    background::run(async move {
        let written = database.write(move |sql| sql.query(statement, &[])).await;
        written.unwrap_or_else(|error: DatabaseError| panic!("{statement}: {error}"))
    })
    .await
}

/// These take the file itself apart, so on PostgreSQL there is nothing to do for them.
fn on_a_file() -> bool {
    Engine::chosen() == Engine::Sqlite
}
