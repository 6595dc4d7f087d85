//! Where the data lives, as one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DatabaseError;
use crate::postgres::PostgresUrl;

/// `sqlite:PATH` or `postgres://…`. Neither `Display` nor `Debug` shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The file of an embedded database; created, readable by its owner only, when absent.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            // `sqlite:///var/lib/a.db` is what other tools write for an absolute path.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(DatabaseError::Open("sqlite: needs a path".into())),
                // Each connection would see a database of its own.
                ":memory:" => Err(DatabaseError::Unsupported("sqlite needs a file".into())),
                path => Ok(Self::Sqlite(PathBuf::from(path))),
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(text.parse()?)));
        }
        // The text stays out of the message: it may be a mistyped URL with a password.
        Err(DatabaseError::Unsupported("a database is sqlite:PATH or postgres://…".into()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_engine() {
        let sqlite = |path: &str| Ok(DatabaseUrl::Sqlite(PathBuf::from(path)));
        assert_eq!("sqlite:auth-server.db".parse(), sqlite("auth-server.db"));
        assert_eq!("sqlite:/data/a.db".parse(), sqlite("/data/a.db"));
        assert_eq!("sqlite:///data/a.db".parse(), sqlite("/data/a.db"));
        let postgres = "postgres://u@h/d";
        let url: DatabaseUrl = postgres.parse().unwrap();
        assert!(matches!(url, DatabaseUrl::Postgres(_)) && url.to_string() == "postgres://h/d");
        for wrong in ["", "sqlite:", "sqlite::memory:", "mysql://h/d", "auth-server.db"] {
            assert!(wrong.parse::<DatabaseUrl>().is_err(), "{wrong}");
        }
    }
}
