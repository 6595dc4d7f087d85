//! Where the data lives, as one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DatabaseError;

/// `sqlite:PATH` or `postgres://…`. Neither `Display` nor `Debug` shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The file of an embedded database; created, readable by its owner only, when absent.
    Sqlite(PathBuf),
    /// The connection URL of a PostgreSQL server, as given: it may contain a password.
    Postgres(String),
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
            return Ok(Self::Postgres(text.to_owned()));
        }
        // The text stays out of the message: it may be a mistyped URL with a password.
        Err(DatabaseError::Unsupported("a database is sqlite:PATH or postgres://…".into()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "postgres://{}", without_credentials(url)),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host, port and database name. Both the user part and the query may hold a password, and a
/// careless one may hold any of `/`, `?` and `@`: cutting at the *last* `@` first cannot show it.
fn without_credentials(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let after_user = after_scheme.rsplit_once('@').map_or(after_scheme, |(_, rest)| rest);
    after_user.split_once('?').map_or(after_user, |(rest, _)| rest)
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
        assert_eq!(postgres.parse(), Ok(DatabaseUrl::Postgres(postgres.into())));
        for wrong in ["", "sqlite:", "sqlite::memory:", "mysql://h/d", "auth-server.db"] {
            assert!(wrong.parse::<DatabaseUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://user:hunter2@db.example:5432/auth",
            "postgres://user:hun/ter2@db.example:5432/auth",
            "postgres://user:hun@ter2?@db.example:5432/auth",
            "postgres://db.example:5432/auth?user=user&password=hunter2",
        ] {
            let url = DatabaseUrl::Postgres(url.into());
            assert_eq!(url.to_string(), "postgres://db.example:5432/auth");
            assert_eq!(format!("{url:?}"), "postgres://db.example:5432/auth");
        }
    }
}
