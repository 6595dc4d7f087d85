//! An index that was built beforehand: `IF NOT EXISTS` looks at its name alone, so what bears that name is looked at here.

use super::refused;
use super::text::{Piece, pieces};
use crate::DatabaseError;
use crate::job::Session;

/// What `CREATE INDEX IF NOT EXISTS` is about, as the database has it.
#[derive(Debug, PartialEq, Eq)]
struct Index {
    name: String,
    table: String,
    is_unique: bool,
}

/// Behind such a statement: is the index usable, and the one that is meant? Any other statement passes.
pub(super) fn check(session: &mut dyn Session, statement: &str) -> Result<(), DatabaseError> {
    let (Some(query), Some(index)) = (session.dialect().index, meant(statement)) else {
        return Ok(());
    };
    let Index { name, table, is_unique } = index;
    let rows = session.query(query, &[name.as_str().into(), table.as_str().into()])?;
    let Some(row) = rows.first() else { return Ok(()) };
    if row.int(0)? == 0 {
        return refused(format!(
            "the index {name} is there, but is no usable one of the table {table}: a CREATE INDEX CONCURRENTLY has failed, or \
             still runs. Wait for it, or DROP INDEX {name} and build it again; then start again"
        ));
    }
    if (row.int(1)? != 0) != is_unique {
        let (there, meant) = if is_unique { ("not ", "") } else { ("", "not ") };
        return refused(format!(
            "the index {name} is there, but is {there}UNIQUE where the migration's is {meant}so: DROP INDEX {name}; then start again"
        ));
    }
    Ok(())
}

fn meant(statement: &str) -> Option<Index> {
    let parts: Vec<&str> = pieces(statement)
        .filter_map(|piece| match piece {
            Piece::Word(text) | Piece::Other(text) if !text.trim().is_empty() => Some(text),
            _ => None,
        })
        .collect();
    let is = |word: &str, wanted: &str| word.eq_ignore_ascii_case(wanted);
    let (is_unique, rest) = match parts.as_slice() {
        [create, index, rest @ ..] if is(create, "CREATE") && is(index, "INDEX") => (false, rest),
        [create, unique, index, rest @ ..]
            if is(create, "CREATE") && is(unique, "UNIQUE") && is(index, "INDEX") =>
        {
            (true, rest)
        }
        _ => return None,
    };
    match rest {
        [r#if, not, exists, name, on, table, ..]
            if is(r#if, "IF") && is(not, "NOT") && is(exists, "EXISTS") && is(on, "ON") =>
        {
            Some(Index { name: plain(name), table: plain(table), is_unique })
        }
        _ => None,
    }
}

/// A name without quotes is written small.
fn plain(name: &str) -> String {
    name.strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
        .map_or_else(|| name.to_lowercase(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_read_from_the_statement() {
        let index = |name: &str, table: &str, is_unique| {
            Some(Index { name: name.into(), table: table.into(), is_unique })
        };
        for (statement, wanted) in [
            ("CREATE INDEX IF NOT EXISTS a_b ON a (b)", index("a_b", "a", false)),
            ("create unique index if not exists A_b on \"Aa\"(b)", index("a_b", "Aa", true)),
            ("CREATE INDEX a_b ON a (b)", None),
            ("CREATE TABLE IF NOT EXISTS a (b INT)", None),
            ("", None),
        ] {
            assert_eq!(meant(statement), wanted, "{statement}");
        }
    }
}
