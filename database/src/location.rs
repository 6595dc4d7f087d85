//! Where the data lives, as one URL.

use std::fmt;
use std::path::{Path, PathBuf};
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

impl DatabaseUrl {
    /// The same PostgreSQL server with the password that stands in a file, without the line's end behind it. It beats one in the URL.
    /// The fault names the file, never what is in it.
    pub fn with_password_file(self, path: &Path) -> Result<Self, DatabaseError> {
        let Self::Postgres(url) = self else {
            return Err(DatabaseError::Unsupported("an SQLite database has no password".into()));
        };
        let fault = |why: &dyn fmt::Display| {
            DatabaseError::Open(format!("the password file {}: {why}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| fault(&error))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        match password.strip_suffix('\r').unwrap_or(password) {
            "" => Err(fault(&"is empty")),
            password => Ok(Self::Postgres(Box::new(url.with_password(password)))),
        }
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
    #[test]
    fn a_password_file_holds_one_line_and_beats_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let url = |text: &str| text.parse::<DatabaseUrl>().unwrap();
        for text in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            std::fs::write(&path, text).unwrap();
            let read = url("postgres://u:old@h/d").with_password_file(&path).unwrap();
            let DatabaseUrl::Postgres(inner) = &read else { panic!("{read}") };
            assert!(inner.has_password(b"hunter2"), "{text:?}");
            assert!(!format!("{read:?} {read}").contains("hunter2"));
        }
        std::fs::write(&path, "\n").unwrap();
        for (text, path) in [
            ("postgres://u@h/d", path.as_path()),
            ("postgres://u@h/d", Path::new("/nowhere/password")),
            ("sqlite:a.db", path.as_path()),
        ] {
            assert!(url(text).with_password_file(path).is_err(), "{text} {}", path.display());
        }
    }
}
