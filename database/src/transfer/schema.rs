//! The tables of a schema, found by building it once in memory, and the few statements that a transfer needs of each.
//!
//! So a migration that adds a table or a column cannot be forgotten here.

use std::collections::BTreeSet;

use crate::migrate::{self, Migration, Progress};
use crate::{DatabaseError, Sql, sqlite};

/// Its rows are written by whoever migrates, on either side, and compared, never copied.
pub(super) const HISTORY: &str = "migration";
/// Its rows are copied but for those that say how far a migration has come: they stand for one side's schema.
pub(super) const GUARD: &str = "guard";
/// It stands for one side alone.
pub(super) const FENCE: &str = "fence";

/// Rows of one INSERT. The widest table has some 35 columns, and SQLite takes 32,766 parameters.
pub(super) const BLOCK: usize = 50;

const TABLES: &str = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
    AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
const COLUMNS: &str = "SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid";
const PARENTS: &str = "SELECT \"table\" FROM pragma_foreign_key_list(?1)";

/// One table with its columns in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Which columns are the primary key, in the key's order.
    pub(super) key: Vec<usize>,
    /// The first rows by the key, `?1` at most.
    pub(super) first: &'static str,
    /// The rows behind the key `?2, …`, `?1` at most.
    pub(super) next: &'static str,
    pub(super) insert_one: &'static str,
    /// [`BLOCK`] rows.
    pub(super) insert_block: &'static str,
    pub(super) clear: &'static str,
}

/// Every table but the fence, parents before their children.
pub(super) fn tables(migrations: &'static [Migration]) -> Result<Vec<Table>, DatabaseError> {
    migrate::check(migrations)?;
    sqlite::in_memory(|session| {
        migrate::prepare(session)?;
        while let Progress::Applied(_) | Progress::Begun = migrate::step(session, migrations)? {}
        let mut waiting = Vec::new();
        for row in session.query(TABLES, &[])? {
            let name = row.text(0)?;
            if name != FENCE {
                waiting.push((table(session, &name)?, parents(session, &name)?));
            }
        }
        in_order(waiting)
    })
}

fn table(sql: &mut dyn Sql, name: &str) -> Result<Table, DatabaseError> {
    let mut columns = Vec::new();
    let mut key = Vec::new();
    for (index, row) in sql.query(COLUMNS, &[name.into()])?.iter().enumerate() {
        columns.push(quoted(&row.text(0)?));
        match row.int(1)? {
            0 => {}
            place => key.push((place, index)),
        }
    }
    if key.is_empty() {
        return Err(DatabaseError::Unsupported(format!("the table {name} has no primary key")));
    }
    key.sort_unstable();
    let key: Vec<usize> = key.into_iter().map(|(_, index)| index).collect();
    Ok(with_texts(name, &columns, key))
}

fn with_texts(name: &str, columns: &[String], key: Vec<usize>) -> Table {
    let table = quoted(name);
    let listed = columns.join(", ");
    let by: Vec<&str> = key.iter().filter_map(|&at| columns.get(at)).map(String::as_str).collect();
    let by = by.join(", ");
    let one = placeholders(1, columns.len());
    let block: Vec<String> = (0..BLOCK)
        .map(|row| format!("({})", placeholders(1 + row * columns.len(), columns.len())))
        .collect();
    let insert = format!("INSERT INTO {table} ({listed}) VALUES");
    Table {
        name: leak(name.to_owned()),
        first: leak(format!("SELECT {listed} FROM {table} ORDER BY {by} LIMIT ?1")),
        next: leak(format!(
            "SELECT {listed} FROM {table} WHERE ({by}) > ({}) ORDER BY {by} LIMIT ?1",
            placeholders(2, key.len())
        )),
        insert_one: leak(format!("{insert} ({one})")),
        insert_block: leak(format!("{insert} {}", block.join(", "))),
        clear: leak(format!("DELETE FROM {table}")),
        key,
    }
}

/// The seam takes texts that live as long as the program, so that none is made of input. These are made of the names in our own
/// migrations, some kilobytes a table, once in the life of a command.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn placeholders(from: usize, count: usize) -> String {
    let all: Vec<String> = (from..from + count).map(|number| format!("?{number}")).collect();
    all.join(", ")
}

fn parents(sql: &mut dyn Sql, name: &str) -> Result<BTreeSet<String>, DatabaseError> {
    let rows = sql.query(PARENTS, &[name.into()])?;
    let mut parents = rows.iter().map(|row| row.text(0)).collect::<Result<BTreeSet<_>, _>>()?;
    parents.remove(name);
    Ok(parents)
}

fn in_order(mut waiting: Vec<(Table, BTreeSet<String>)>) -> Result<Vec<Table>, DatabaseError> {
    let mut ordered: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, parents)| {
            parents.iter().all(|name| ordered.iter().any(|t| t.name == name))
        });
        if ready.is_empty() {
            return Err(DatabaseError::Unsupported("tables that refer to each other".into()));
        }
        ordered.extend(ready.into_iter().map(|(table, _)| table));
        waiting = rest;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    static FAMILY: &[Migration] = &[
        Migration {
            version: 1,
            compatible_from: 1,
            name: "1",
            sql: "CREATE TABLE zoo (id ID PRIMARY KEY, name TEXT);
                  CREATE TABLE ant (zoo ID NOT NULL REFERENCES zoo (id), name TEXT NOT NULL, PRIMARY KEY (name, zoo));",
        },
        Migration {
            version: 2,
            compatible_from: 2,
            name: "2",
            sql: "ALTER TABLE ant ADD COLUMN \"order\" INT;",
        },
    ];

    #[test]
    fn every_table_and_column_of_the_last_migration_is_there_and_parents_come_first() {
        let tables = tables(FAMILY).unwrap();
        let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
        assert_eq!(names, ["guard", HISTORY, "zoo", "ant"]);
        let ant = &tables[3];
        assert_eq!(ant.key, [1, 0]);
        assert_eq!(
            ant.next,
            "SELECT \"zoo\", \"name\", \"order\" FROM \"ant\" WHERE (\"name\", \"zoo\") > (?2, ?3) \
             ORDER BY \"name\", \"zoo\" LIMIT ?1"
        );
        assert!(ant.insert_block.ends_with("(?148, ?149, ?150)"), "{}", ant.insert_block);
    }

    #[test]
    fn a_table_without_a_key_is_refused() {
        static HEAP: &[Migration] = &[Migration {
            version: 1,
            compatible_from: 1,
            name: "1",
            sql: "CREATE TABLE heap (id INT);",
        }];
        assert!(matches!(tables(HEAP), Err(DatabaseError::Unsupported(_))));
    }
}
