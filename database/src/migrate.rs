//! Migrations (being written).

/// One step of a schema, written once for every engine.
///
/// Three words are types: `ID` (a 64-bit integer primary key), `INT` (a 64-bit integer) and
/// `BYTES`; besides, `TEXT`. On SQLite every table becomes STRICT. Statements end with `;`.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counts up; 1 is the first.
    pub version: i64,
    /// What it does, for messages: its file's name.
    pub name: &'static str,
    /// The statements. Never edited once released: the checksum is stored.
    pub sql: &'static str,
}
