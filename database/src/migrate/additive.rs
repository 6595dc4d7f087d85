//! Which statements older builds do not notice: a migration that says they can go on is held to these.
//!
//! They go on reading and writing the tables that they know, by the names of their columns. So nothing that is there may go away,
//! get another meaning or another rule, and nothing may hold a large table for longer than a request waits.

use std::collections::BTreeSet;

use super::text::{Piece, pieces};
use super::{Migration, refused};
use crate::DatabaseError;

/// Any migration may put its rows in here.
const GUARD: &str = "GUARD";
/// What a new column of an existing table may not have: rows that older builds write would not keep to it, or every row is read.
const RULES: [&str; 6] = ["UNIQUE", "PRIMARY", "REFERENCES", "CHECK", "GENERATED", "CONSTRAINT"];

/// Refuses a statement that an older build would notice.
pub(super) fn check(migration: &Migration) -> Result<(), DatabaseError> {
    let mut made = BTreeSet::from([GUARD.to_owned()]);
    for statement in statements(migration.sql) {
        let words: Vec<&str> = statement.iter().map(String::as_str).collect();
        if let Err(why) = adds(&words, &mut made) {
            let words = words.get(..words.len().min(6)).unwrap_or_default().join(" ");
            return refused(format!(
                "{} says that older builds can go on, but has \"{words} ...\": {why}",
                migration.name
            ));
        }
    }
    Ok(())
}

/// Words in capitals and signs, without spaces and comments; names keep their quotes away.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut current = Vec::new();
    for piece in pieces(sql).chain([Piece::End]) {
        match piece {
            Piece::End => all.push(std::mem::take(&mut current)),
            Piece::Comment => {}
            Piece::Word(word) => current.push(word.to_uppercase()),
            Piece::Other(text) if text.trim().is_empty() => {}
            Piece::Other(text) => current.push(text.trim_matches('"').to_uppercase()),
        }
    }
    all.retain(|statement| !statement.is_empty());
    all
}

fn adds(words: &[&str], made: &mut BTreeSet<String>) -> Result<(), &'static str> {
    match words {
        ["CREATE", "TABLE", "IF", "NOT", "EXISTS", ..] => {
            Err("whether it is there is known: IF NOT EXISTS hides another table of that name")
        }
        ["CREATE", "TABLE", name, rest @ ..] => {
            made.insert((*name).to_owned());
            refers_to_new_ones(rest, made)
        }
        ["CREATE", "INDEX", "IF", "NOT", "EXISTS", _, "ON", ..] => Ok(()),
        ["CREATE", "INDEX", _, "ON", table, ..]
        | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..]
        | ["INSERT", "INTO", table, ..]
            if made.contains(*table) =>
        {
            Ok(())
        }
        ["CREATE", "INDEX", ..] => Err("write IF NOT EXISTS, for those who build it beforehand"),
        ["CREATE", "UNIQUE", ..] => Err("what older builds write may break it"),
        ["INSERT", ..] => Err("older builds meet these rows"),
        ["ALTER", "TABLE", _, "ADD", "COLUMN", _, definition @ ..] => column(definition),
        _ => Err("it does not only add"),
    }
}

/// Older builds delete rows, and know nothing of what refers to them.
fn refers_to_new_ones(words: &[&str], made: &BTreeSet<String>) -> Result<(), &'static str> {
    let mut referred = words.windows(2).filter_map(|pair| match pair {
        ["REFERENCES", table] => Some(*table),
        _ => None,
    });
    if referred.all(|table| made.contains(table)) {
        return Ok(());
    }
    Err("older builds could not delete what it refers to")
}

fn column(definition: &[&str]) -> Result<(), &'static str> {
    if definition.iter().any(|word| RULES.contains(word)) {
        return Err("a new column has no rule but its type and NOT NULL");
    }
    let default = definition.iter().position(|word| *word == "DEFAULT");
    let default = default.and_then(|at| definition.get(at + 1..)).unwrap_or_default();
    let is_literal = match default {
        [] => false,
        ["-", number, ..] | [number, ..] => {
            number.starts_with(|first: char| first.is_ascii_digit() || first == '\'')
        }
    };
    match (definition.contains(&"NOT"), default, is_literal) {
        (true, [], _) => Err("older builds do not set it: NOT NULL needs a DEFAULT"),
        (_, [_, ..], false) => Err("a default that is no literal makes every row anew"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(sql: &'static str) -> Result<(), DatabaseError> {
        check(&Migration { version: 2, name: "0002_more", compatible_from: 1, sql })
    }

    #[test]
    fn what_only_adds_is_let_through() {
        for sql in [
            "",
            "-- DROP TABLE a;\n",
            "CREATE TABLE b (id ID PRIMARY KEY, a INT NOT NULL UNIQUE CHECK (a > 0));
             CREATE UNIQUE INDEX b_a ON b (a); INSERT INTO b (id, a) VALUES (1, 1);
             CREATE TABLE \"c\" (b INT PRIMARY KEY REFERENCES b (id)); CREATE INDEX c_b ON c (b);",
            "INSERT INTO guard (name, version) VALUES ('DROP TABLE', 0);",
            "create index if not exists a_b on a (b) where b is null;",
            "ALTER TABLE a ADD COLUMN b TEXT;",
            "ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT 'CHECK'; ALTER TABLE a ADD COLUMN c INT DEFAULT -1;",
        ] {
            assert_eq!(check_text(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_an_older_build_would_notice_is_refused() {
        for sql in [
            "DROP TABLE a;",
            "DROP INDEX a_b;",
            "DELETE FROM a;",
            "UPDATE a SET b = 1;",
            "INSERT INTO a (b) VALUES (1);",
            "CREATE TABLE IF NOT EXISTS a (id ID PRIMARY KEY);",
            "CREATE TABLE b (a INT PRIMARY KEY REFERENCES a (id));",
            "CREATE INDEX a_b ON a (b);",
            "CREATE UNIQUE INDEX a_b ON a (b);",
            "CREATE UNIQUE INDEX IF NOT EXISTS a_b ON a (b);",
            "CREATE VIEW b AS SELECT 1;",
            "ALTER TABLE a RENAME TO b;",
            "ALTER TABLE a RENAME COLUMN b TO c;",
            "ALTER TABLE a DROP COLUMN b;",
            "ALTER TABLE a ALTER COLUMN b SET NOT NULL;",
            "ALTER TABLE a ADD CONSTRAINT b UNIQUE (c);",
            "ALTER TABLE a ADD COLUMN b INT NOT NULL;",
            "ALTER TABLE a ADD COLUMN b INT UNIQUE;",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT 0 CHECK (b > c);",
            "ALTER TABLE a ADD COLUMN b INT REFERENCES c (id);",
            "ALTER TABLE a ADD COLUMN b TEXT DEFAULT (random());",
            "ALTER TABLE a ADD COLUMN b TEXT DEFAULT now();",
            "ALTER TABLE a ADD COLUMN b INT; DROP TABLE a",
        ] {
            let fault = check_text(sql);
            assert!(
                matches!(&fault, Err(DatabaseError::Migration(text)) if text.contains("0002_more")),
                "{sql}: {fault:?}"
            );
        }
    }
}
