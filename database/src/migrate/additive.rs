//! Which statements older builds do not notice: a migration that says they can go on is held to these.
//!
//! They go on reading and writing the tables that they know, by the names of their columns. So nothing that is there may go away,
//! get another meaning or another rule, and nothing may hold a large table for longer than a request waits, or write it anew. Each
//! form is read to its end: what is not known here is refused.

use std::collections::BTreeSet;

use super::text::{Piece, pieces};
use super::{Migration, refused};
use crate::DatabaseError;

/// What a new column of an existing table may be.
const TYPES: [&str; 4] = ["INT", "TEXT", "BYTES", "ID"];
/// What may stand before an opening parenthesis in the condition of an index; any other word would be a function.
const BEFORE_PARENTHESIS: [&str; 6] = ["WHERE", "AND", "OR", "NOT", "IN", "("];

/// Refuses a statement that an older build would notice.
pub(super) fn check(migration: &Migration) -> Result<(), DatabaseError> {
    let mut made = BTreeSet::new();
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
    if words.contains(&"$") {
        return Err("what $ quotes is not read here");
    }
    match words {
        ["CREATE", "TABLE", "IF", "NOT", "EXISTS", ..] => {
            Err("whether it is there is known: IF NOT EXISTS hides another table of that name")
        }
        ["CREATE", "TABLE", name, definition @ ..] => {
            made.insert((*name).to_owned());
            new_table(definition, made)
        }
        ["CREATE", "INDEX", "IF", "NOT", "EXISTS", _, "ON", _, definition @ ..] => {
            index(definition)
        }
        ["CREATE", "INDEX", _, "ON", table, ..]
        | ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..]
            if made.contains(*table) =>
        {
            Ok(())
        }
        ["CREATE", "INDEX", ..] => Err("write IF NOT EXISTS, for those who build it beforehand"),
        ["CREATE", "UNIQUE", ..] => Err("what older builds write may break it"),
        ["INSERT", "INTO", "GUARD", "(", "NAME", ",", "VERSION", ")", "VALUES", rows @ ..] => {
            literal_rows(rows)?;
            // Not those by which a migration knows how far it has come.
            if rows.iter().any(|word| word.starts_with("'MIGRATION")) {
                return Err("names that begin so are the migrations' own");
            }
            Ok(())
        }
        ["INSERT", "INTO", table, rest @ ..] if made.contains(*table) => {
            let values = rest.iter().position(|word| *word == "VALUES");
            literal_rows(values.and_then(|at| rest.get(at + 1..)).unwrap_or_default())
        }
        ["INSERT", ..] => Err("older builds meet these rows"),
        ["ALTER", "TABLE", _, "ADD", "COLUMN", _, definition @ ..] => column(definition),
        _ => Err("it does not only add"),
    }
}

/// Columns and rules between parentheses and nothing behind them: neither rows of a query nor another table's.
fn new_table(definition: &[&str], made: &BTreeSet<String>) -> Result<(), &'static str> {
    match in_parentheses(definition) {
        Some((_, [])) if !definition.contains(&"SELECT") => refers_to_new_ones(definition, made),
        _ => Err("a new table has its columns in parentheses, and no rows yet"),
    }
}

/// What stands in the parentheses with which it begins, and what follows them.
fn in_parentheses<'a>(words: &'a [&'a str]) -> Option<(&'a [&'a str], &'a [&'a str])> {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate() {
        match *word {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some((words.get(1..at)?, words.get(at + 1..)?));
        }
    }
    None
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

/// Of columns as they are. What is computed may fail, and with it the write of an older build.
fn index(definition: &[&str]) -> Result<(), &'static str> {
    let Some((columns, condition)) = in_parentheses(definition) else {
        return Err("the columns of an index stand in parentheses");
    };
    let is_plain = columns.split(|word| *word == ",").all(|column| match column {
        [name] | [name, "ASC" | "DESC"] => is_word(name),
        _ => false,
    });
    if !is_plain {
        return Err("an index beside older builds is one of columns, not of what is computed");
    }
    match condition {
        [] => Ok(()),
        ["WHERE", ..] if compares(condition) => Ok(()),
        _ => Err("the condition of an index compares columns and literals, and computes nothing"),
    }
}

fn compares(condition: &[&str]) -> bool {
    let known = |word: &&str| {
        is_word(word) || is_text(word) || matches!(*word, "(" | ")" | "," | "=" | "<" | ">" | "!")
    };
    condition.iter().all(known)
        && condition.windows(2).all(|pair| match pair {
            [before, "("] => BEFORE_PARENTHESIS.contains(before),
            _ => true,
        })
}

/// A type that is there, `NOT NULL` or not, a literal or none.
fn column(definition: &[&str]) -> Result<(), &'static str> {
    let Some((kind, mut rest)) = definition.split_first() else {
        return Err("a new column has a type");
    };
    if !TYPES.contains(kind) {
        return Err("a new column has one of the types of migrations");
    }
    let (mut is_filled, mut has_default) = (false, false);
    loop {
        rest = match rest {
            [] => break,
            ["NOT", "NULL", rest @ ..] if !is_filled => {
                is_filled = true;
                rest
            }
            ["DEFAULT", rest @ ..] if !has_default => {
                has_default = true;
                literal(rest).ok_or("a default that is no literal makes every row anew")?
            }
            _ => return Err("a new column has no rule but its type and NOT NULL, and comes alone"),
        };
    }
    if is_filled && !has_default {
        return Err("older builds do not set it: NOT NULL needs a DEFAULT");
    }
    Ok(())
}

/// What follows a whole number or a quoted text.
fn literal<'a>(words: &'a [&'a str]) -> Option<&'a [&'a str]> {
    match words {
        ["-", number, rest @ ..] | [number, rest @ ..] if is_number(number) => Some(rest),
        [text, rest @ ..] if is_text(text) => {
            // A quote inside is two, and reads as two texts side by side.
            let more = rest.iter().take_while(|word| is_text(word)).count();
            rest.get(more..)
        }
        _ => None,
    }
}

/// Rows of literals to the end: nothing that is read elsewhere, and nothing about rows that are there already.
fn literal_rows(rows: &[&str]) -> Result<(), &'static str> {
    const FAULT: &str = "rows beside older builds are written out: VALUES, literals, nothing else";
    let mut rest = rows;
    loop {
        let (values, after) = match in_parentheses(rest) {
            Some((values, after)) if !values.is_empty() => (values, after),
            _ => return Err(FAULT),
        };
        let is_literal = |value: &[&str]| value == ["NULL"] || literal(value) == Some(&[]);
        if !values.split(|word| *word == ",").all(is_literal) {
            return Err(FAULT);
        }
        rest = match after {
            [] => return Ok(()),
            [",", rest @ ..] => rest,
            _ => return Err(FAULT),
        };
    }
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_text(word: &str) -> bool {
    word.len() >= 2 && word.starts_with('\'') && word.ends_with('\'')
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
            "INSERT INTO guard (name, version) VALUES ('a', 0), ('b''s', -1);",
            "CREATE TABLE b (id ID PRIMARY KEY, a TEXT); INSERT INTO b VALUES (1, NULL), (2, 'SELECT, (');",
            "CREATE INDEX IF NOT EXISTS a_b ON a (b DESC, c) WHERE (b = 'x' OR c IN (1, 2)) AND NOT (d >= 5);",
            "ALTER TABLE a ADD COLUMN b TEXT DEFAULT 'it''s, DROP' NOT NULL;",
            "create index if not exists a_b on a (b) where b is null;",
            "ALTER TABLE a ADD COLUMN b TEXT;",
            "ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT 'CHECK'; ALTER TABLE a ADD COLUMN c INT DEFAULT -1;",
        ] {
            assert_eq!(check_text(sql), Ok(()), "{sql}");
        }
    }

    fn each_is_refused(list: &[&'static str]) {
        for sql in list {
            let fault = check_text(sql);
            assert!(
                matches!(&fault, Err(DatabaseError::Migration(text)) if text.contains("0002_more")),
                "{sql}: {fault:?}"
            );
        }
    }

    #[test]
    fn what_an_older_build_would_notice_is_refused() {
        each_is_refused(&[
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
        ]);
    }

    #[test]
    fn a_new_column_is_read_to_its_end() {
        each_is_refused(&[
            "ALTER TABLE a ADD COLUMN b INT, DROP COLUMN c;",
            "ALTER TABLE a ADD COLUMN b INT NOT NULL DEFAULT 0, ADD COLUMN c INT;",
            "ALTER TABLE a ADD COLUMN IF NOT EXISTS b INT;",
            "ALTER TABLE a ADD COLUMN b;",
            "ALTER TABLE a ADD COLUMN b SERIAL;",
            "ALTER TABLE a ADD COLUMN b TEXT COLLATE nocase;",
            "ALTER TABLE a ADD COLUMN b INT AS (c + 1);",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT 1 + random();",
            "ALTER TABLE a ADD COLUMN b TEXT DEFAULT 'a' || random();",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT 1 DEFAULT 2;",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT - random();",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT;",
            "ALTER TABLE a ADD COLUMN b INT DEFAULT 1::int;",
        ]);
    }

    #[test]
    fn new_tables_rows_and_indexes_are_read_to_their_end() {
        each_is_refused(&[
            "CREATE TABLE b AS SELECT * FROM a;",
            "CREATE TABLE b AS TABLE a;",
            "CREATE TABLE b (c) AS VALUES (1);",
            "CREATE TABLE b (id ID PRIMARY KEY) INHERITS (a);",
            "CREATE TABLE b PARTITION OF a DEFAULT;",
            "CREATE TABLE b (id ID PRIMARY KEY, a INT CHECK (a IN (SELECT b FROM a)));",
            "CREATE TABLE b (a TEXT PRIMARY KEY DEFAULT $$'$$); DROP TABLE a; --');",
            "CREATE TABLE b (a TEXT PRIMARY KEY REFERENCES guard (name));",
            "CREATE UNIQUE INDEX b ON guard (version);",
            "INSERT INTO guard (name, version) SELECT name, 0 FROM a;",
            "INSERT INTO guard (name, version) VALUES ((SELECT max(b) FROM a), 0);",
            "INSERT INTO guard (name, version) TABLE a;",
            "INSERT INTO guard (name, version) VALUES ('a', 0) ON CONFLICT (name) DO UPDATE SET version = 0;",
            "INSERT INTO guard (name, version) VALUES ('a', 0),;",
            "INSERT INTO guard (name, version) VALUES;",
            "INSERT INTO guard (name, version) VALUES ('migration 3 0', 0);",
            "CREATE TABLE b (id ID PRIMARY KEY); INSERT INTO b (id) SELECT id FROM a;",
            "CREATE TABLE b (id ID PRIMARY KEY); INSERT INTO b (id) WITH d AS (DELETE FROM a RETURNING id) TABLE d;",
            "CREATE INDEX IF NOT EXISTS a_b ON a ((1 / b));",
            "CREATE INDEX IF NOT EXISTS a_b ON a (lower(b));",
            "CREATE INDEX IF NOT EXISTS a_b ON a (b) WHERE 1 / b > 0;",
            "CREATE INDEX IF NOT EXISTS a_b ON a (b) WHERE ln(b) > 0;",
            "CREATE INDEX IF NOT EXISTS a_b ON a USING gin (b);",
            "CREATE INDEX IF NOT EXISTS a_b ON a (b) INCLUDE (c);",
            "CREATE INDEX IF NOT EXISTS a_b ON a;",
        ]);
    }
}
