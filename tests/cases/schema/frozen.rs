//! What was released stays as it is: the text of a migration, its fixture, and what a fresh database gets by it.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use tests::engine::{Store, ask, hex, server_or_skip};

use super::fixture::{Server, load, root};
use super::making::{HOW, is_asked_for, migrated, sqlite_definitions, write_missing};

/// A line for each migration: server, number, name, the oldest build it lets go on, SHA-256 of its text.
const RELEASED: &str = "released";

#[tokio::test]
async fn a_released_migration_never_changes() {
    let mut now = String::new();
    for server in Server::BOTH {
        for migration in server.migrations() {
            let text = migration.sql.replace("\r\n", "\n");
            let (version, name, from) =
                (migration.version, migration.name, migration.compatible_from);
            let sum = hex(digest(&SHA256, text.as_bytes()).as_ref());
            writeln!(now, "{} {version:04} {name} {from} {sum}", server.name()).unwrap();
        }
    }
    let path = root().join(RELEASED);
    if is_asked_for() {
        write_missing().await;
        let released = std::fs::read_to_string(&path).unwrap_or_default();
        let kept = released.lines().all(|line| now.lines().any(|other| other == line));
        assert!(kept, "a released migration was changed: write another one instead");
        std::fs::write(&path, &now).unwrap();
    }
    let released = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        now, released,
        "a released migration never changes: to change the schema, write another one. {HOW}"
    );
}

#[test]
fn versions_count_from_one_and_every_file_is_known() {
    for server in Server::BOTH {
        let versions: Vec<i64> = server.versions().collect();
        let count = i64::try_from(versions.len()).unwrap();
        assert_eq!(versions, (1..=count).collect::<Vec<_>>(), "{}", server.name());
        let folder = format!("../{}/src/store/migrations", server.name());
        let files = root().ancestors().nth(2).unwrap().join(folder);
        let mut files: Vec<String> = std::fs::read_dir(files)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let known: Vec<String> = server
            .migrations()
            .iter()
            .map(|migration| format!("{:04}_{}.sql", migration.version, migration.name))
            .collect();
        assert_eq!(files, known, "{}", server.name());
    }
}

/// The text of a migration is one half of it: how its types are spelled for an engine is the other.
#[tokio::test]
async fn a_fresh_sqlite_database_has_the_definitions_of_the_fixture() {
    for server in Server::BOTH {
        for version in server.versions() {
            let made = sqlite_definitions(server.known_at(version)).await;
            assert_eq!(made, server.read(version, "sqlite.sql"), "{} {version}", server.name());
        }
    }
}

#[tokio::test]
async fn a_fresh_postgres_database_has_the_definitions_of_the_fixture() {
    let Some(postgres) = server_or_skip("a_fresh_postgres_database_has") else { return };
    for server in Server::BOTH {
        for version in server.versions() {
            let (fresh, stored) = (Store::on(&postgres).await, Store::on(&postgres).await);
            migrated(&fresh, server.known_at(version)).await;
            load(server, version, &stored).await;
            assert_eq!(
                described(&fresh).await,
                described(&stored).await,
                "{} {version}",
                server.name()
            );
        }
    }
}

/// Columns, constraints and indexes as PostgreSQL lists them.
async fn described(store: &Store) -> String {
    let columns = "SELECT string_agg(concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default), chr(10)
        ORDER BY table_name, ordinal_position) FROM information_schema.columns WHERE table_schema = 'public'";
    let constraints = "SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)), chr(10)
        ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE connamespace = 'public'::regnamespace";
    let indexes = "SELECT string_agg(indexdef, chr(10) ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'public'";
    let mut text = String::new();
    for query in [columns, constraints, indexes] {
        text += &ask(&store.url, query).await;
        text.push('\n');
    }
    text
}

/// So that each of them shows that it goes on. The fence stands only while a database moves.
#[test]
fn every_table_has_a_row_in_the_fixture() {
    for server in Server::BOTH {
        for version in server.versions() {
            let (definitions, rows) =
                (server.read(version, "sqlite.sql"), server.read(version, "rows.sql"));
            let tables = definitions
                .lines()
                .filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split([' ', '(']).next());
            let without: Vec<&str> = tables
                .filter(|table| *table != "fence")
                .filter(|table| !rows.contains(&format!("INSERT INTO {table} (")))
                .collect();
            assert!(without.is_empty(), "{} {version}: {without:?}", server.name());
        }
    }
}
