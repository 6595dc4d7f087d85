//! What a command prints: lines for people, or one JSON document for scripts; and secrets, once.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use database::DatabaseUrl;
use serde_json::Value;

use super::CliError;
use crate::config::Settings;
use crate::domain::secret::PlainSecret;

/// Prints a line to standard output.
pub fn line(text: impl Display) -> Result<(), CliError> {
    match print(text) {
        // A reader that has seen enough, as in `account list | head`, is no fault of ours.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => {
            printed.map_err(|error| CliError::Unprinted(format!("standard output: {error}")))
        }
    }
}

/// `println!` would panic where nothing can be written.
fn print(text: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a line to standard error.
#[expect(
    clippy::print_stderr,
    reason = "a command's complaint belongs on standard error, before any log is set up"
)]
pub fn complain(text: impl Display) {
    eprintln!("{text}");
}

/// Prints a JSON document, indented.
pub fn json(value: &Value) -> Result<(), CliError> {
    line(format_args!("{value:#}"))
}

/// Prints `text`, which says where secrets went, each with its kind and owner. Those that stand nowhere else are lost if nobody can read it:
/// then the fault names the commands that make others.
pub fn line_with<'a>(
    secrets: impl IntoIterator<Item = (&'a str, &'a str, &'a Shown)>,
    text: impl Display,
) -> Result<(), CliError> {
    let printed = |secret: &(_, _, &Shown)| matches!(secret.2, Shown::Printed(_));
    let mut endangered = secrets.into_iter().filter(printed).peekable();
    if endangered.peek().is_none() {
        return line(text);
    }
    print(text).map_err(|error| {
        let lost: Vec<String> =
            endangered.map(|(kind, owner, _)| lost(kind, owner, &error)).collect();
        CliError::Failed(lost.join("\n"))
    })
}

fn lost(kind: &str, owner: &str, why: &std::io::Error) -> String {
    let another = match kind {
        PASSWORD => "auth-server account set-password",
        _ => "auth-server client rotate-secret",
    };
    format!(
        "the {kind} of {owner} could not be printed and is lost ({why}); `{another} {owner}` makes another"
    )
}

/// The kind of a person's secret.
pub const PASSWORD: &str = "password";
/// The kind of a client's secret.
pub const CLIENT_SECRET: &str = "client_secret";

/// Where a generated secret went.
#[derive(Clone, Debug)]
pub enum Shown {
    /// It is to be printed now, once.
    Printed(PlainSecret),
    /// It was written to this file, mode 0600.
    File(PathBuf),
}

impl Shown {
    /// The sentence for people.
    pub fn sentence(&self, what: &str) -> String {
        match self {
            Self::Printed(secret) => format!("{what}: {} (shown once)", secret.expose()),
            Self::File(path) => format!("{what}: written to {}", path.display()),
        }
    }

    /// The members for scripts: `{"NAME": secret}` or `{"NAME_file": path}`.
    pub fn members(&self, name: &str) -> (String, Value) {
        match self {
            Self::Printed(secret) => (name.to_owned(), Value::from(secret.expose())),
            Self::File(path) => (format!("{name}_file"), Value::from(path.display().to_string())),
        }
    }
}

/// Hands a generated secret to the operator: printed where the issuer is on loopback (development), else into a file of mode 0600
/// beside the database, since standard output of a production host tends to be kept for years. Its name is kind and owner.
pub fn show_once(
    settings: &Settings,
    kind: &str,
    owner: &str,
    secret: &PlainSecret,
) -> Result<Shown, CliError> {
    if settings.issuer.is_loopback() {
        return Ok(Shown::Printed(secret.clone()));
    }
    let folder = match &settings.database {
        DatabaseUrl::Sqlite(path) => path.parent().unwrap_or(Path::new(".")).to_owned(),
        DatabaseUrl::Postgres(_) => PathBuf::from("."),
    };
    let path = folder.join(format!("{kind}-{}.secret", file_name(owner)));
    let write = || -> std::io::Result<()> {
        // An earlier secret makes way first: its file may have been opened to others meanwhile, and its mode would stay.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        writeln!(file, "{}", secret.expose())?;
        file.sync_all()
    };
    write().map_err(|error| {
        CliError::Failed(format!("the secret cannot be written to {}: {error}", path.display()))
    })?;
    Ok(Shown::File(path))
}

/// `owner` as a part of a file name: other characters become `_`, and then a fingerprint tells apart what looks alike.
fn file_name(owner: &str) -> String {
    let safe: String = owner
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    if safe == owner {
        return safe;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, owner.as_bytes());
    let fingerprint: Vec<String> =
        digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{safe}-{}", fingerprint.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_two_owners_never_share_a_file() {
        assert_eq!(file_name("demo-web"), "demo-web");
        assert_ne!(file_name("a/b"), file_name("a_b"));
        assert!(!file_name("../x").contains('/'));
    }

    #[test]
    fn whoever_lost_a_secret_is_told_how_to_make_another() {
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let told = |kind, owner| lost(kind, owner, &full);
        assert!(told(CLIENT_SECRET, "web").contains("`auth-server client rotate-secret web`"));
        assert!(told(PASSWORD, "alice").contains("`auth-server account set-password alice`"));
    }
}
