//! Where settings come from: the command line, the environment, the file.

use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;
use toml::{Table, Value};

use super::keys::{KEYS, Key};

/// The argument that names the file.
pub(super) const CONFIG_ID: &str = "setting config";

/// Where a value stood, for the sentence about its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A flag.
    Flag,
    /// A variable.
    Environment,
    /// The settings file.
    File,
}

/// What flags and environment say.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The settings file.
    pub file: Option<PathBuf>,
    /// Values by key: only those that were given.
    pub values: Vec<(&'static Key, Source, Value)>,
}

/// Reads the arguments of one subcommand. An empty variable counts as absent: composed environments often hold them.
pub(super) fn given(matches: &ArgMatches) -> Given {
    let texts = |id: &str| -> Option<(Source, Vec<String>)> {
        let source = match matches.value_source(id)? {
            ValueSource::CommandLine => Source::Flag,
            _ => Source::Environment,
        };
        let texts: Vec<String> = matches.get_many::<String>(id)?.cloned().collect();
        let absent = source == Source::Environment && texts.iter().all(String::is_empty);
        (!absent).then_some((source, texts))
    };
    let file = texts(CONFIG_ID).and_then(|(_, texts)| texts.into_iter().next()).map(PathBuf::from);
    let values = KEYS
        .iter()
        .filter_map(|key| {
            let (source, texts) = texts(&key.setting().id())?;
            let mut texts = texts.into_iter().map(Value::String);
            let value = if key.list { Value::Array(texts.collect()) } else { texts.next()? };
            Some((key, source, value))
        })
        .collect();
    Given { file, values }
}

/// One thing that a file says: the name of its key, and the value.
pub(super) type Entry = (String, Value);

/// A file's entries with dotted names: `[lifetimes] code` is `lifetimes.code`.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, String> {
    // The parser's own sentence repeats the line, and a line may hold a secret that was put there by mistake.
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map(|before| before.matches('\n').count() + 1);
        format!(
            "is no TOML: {}{}",
            error.message(),
            line.map(|line| format!(" (line {line})")).unwrap_or_default()
        )
    })?;
    let mut entries = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(group) => entries
                .extend(group.into_iter().map(|(key, value)| (format!("{name}.{key}"), value))),
            value => entries.push((name, value)),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_named_by_its_line_without_its_text() {
        let fault = entries("listen = \"x\"\nsecret = hunter2\n").unwrap_err();
        assert!(fault.contains("line 2"), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}
