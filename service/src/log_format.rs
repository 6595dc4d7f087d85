//! The form of log lines: a message that reads alone, then `key=value`, or one JSON object a line; and the security log.
//!
//! A line that is written while a request is answered carries its id, whoever writes it.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{Stderr, Write as _};

use env_logger::Target;
use env_logger::fmt::Formatter;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Record};

use crate::entrance;
use crate::log_writer::{self, Gathering};

tokio::task_local! {
    /// The id of the request that this task answers.
    pub static REQUEST_ID: String;
}

/// Bytes of most lines.
const USUAL_LINE: usize = 256;

/// The target of the access log.
pub const ACCESS: &str = "access";
/// The target of security events.
pub const SECURITY: &str = "security";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A message that reads alone, then `key=value`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// While it is held, lines may wait a few milliseconds for others to be written with. Dropped, it writes what waits; later lines do not
/// wait.
#[derive(Debug)]
#[must_use]
pub struct Log {
    _gathering: Option<Gathering<Stderr>>,
}

/// Sets up the log on standard error, once for the process; a second call changes nothing. `filter` was checked with the settings.
///
/// What the HTTP library says of connections is heard only where the filter names it: any stranger can make it speak.
pub fn init(format: LogFormat, filter: &str) -> Log {
    let mut builder = builder(filter);
    let gathering =
        if let Ok((lines, gathering)) = log_writer::gather(std::io::stderr(), &log_writer::LOST) {
            builder.target(Target::Pipe(Box::new(lines)));
            Some(gathering)
        } else {
            builder.target(Target::Stderr);
            None
        };
    match format {
        LogFormat::Text => builder.format(write_text),
        LogFormat::Json => builder.format(write_json),
    };
    if builder.try_init().is_err() {
        log::debug!("the log was set up before");
    }
    Log { _gathering: gathering }
}

fn builder(filter: &str) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    // First, so that the filter has the last word.
    builder.filter_module(entrance::LOG_TARGET, LevelFilter::Off).parse_filters(filter);
    builder
}

/// Writes one line of the security log. `fields` never hold a token, a code, a cookie or a row id.
pub fn security_event(name: &'static str, fields: &[(&'static str, &dyn Display)]) {
    if !log::log_enabled!(target: SECURITY, Level::Info) {
        return;
    }
    let pairs: Vec<(&str, Value<'_>)> =
        fields.iter().map(|(key, value)| (*key, Value::from_dyn_display(value))).collect();
    let pairs = [("event", Value::from(name))].into_iter().chain(pairs).collect::<Vec<_>>();
    let message = name.replace('_', " ");
    log::logger().log(
        &Record::builder()
            .level(Level::Info)
            .target(SECURITY)
            .module_path_static(Some(module_path!()))
            .key_values(&pairs.as_slice())
            .args(format_args!("{message}"))
            .build(),
    );
}

/// `2026-01-02T03:04:05.678Z INFO access: GET /token 200 status=200 request_id=…`
fn write_text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let time = out.timestamp_millis();
    write!(out, "{time} ")?;
    let mut line =
        REQUEST_ID.try_with(|id| text_line(record, id)).unwrap_or_else(|_| text_line(record, ""));
    line.push('\n');
    out.write_all(line.as_bytes())
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let time = out.timestamp_millis().to_string();
    let line = json_line(record, &time, &request_id());
    writeln!(out, "{line}")
}

fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

fn text_line(record: &Record<'_>, request_id: &str) -> String {
    let mut line = String::with_capacity(USUAL_LINE);
    let args = record.args();
    let message = args.as_str().map_or_else(|| Cow::Owned(args.to_string()), Cow::Borrowed);
    let head = write!(line, "{} {}: {}", record.level(), record.target(), one_line(&message));
    debug_assert!(head.is_ok(), "writing to a string cannot fail");
    let mut text = Text { line, value: String::new() };
    if record.key_values().visit(&mut text).is_err() {
        debug_assert!(false, "no pair is refused");
    }
    let mut line = text.line;
    if !request_id.is_empty() {
        append(&mut line, "request_id", request_id);
    }
    line
}

/// Appends each pair to the line.
struct Text {
    line: String,
    /// The value at hand, where it is no text by itself.
    value: String,
}

impl<'kvs> VisitSource<'kvs> for Text {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if let Some(text) = value.to_borrowed_str() {
            append(&mut self.line, key.as_str(), text);
        } else {
            self.value.clear();
            write!(self.value, "{value}").map_err(kv::Error::from)?;
            append(&mut self.line, key.as_str(), &self.value);
        }
        Ok(())
    }
}

fn json_line(record: &Record<'_>, time: &str, request_id: &str) -> String {
    let mut object = serde_json::Map::new();
    for (key, value) in fields(record) {
        object.insert(key, value.into_json());
    }
    // Last, so that no field can take their place.
    object.insert("time".into(), time.into());
    object.insert("level".into(), record.level().as_str().into());
    object.insert("target".into(), record.target().into());
    object.insert("message".into(), record.args().to_string().into());
    if !request_id.is_empty() {
        object.insert("request_id".into(), request_id.into());
    }
    serde_json::Value::Object(object).to_string()
}

/// A field's value: numbers and booleans stay what they are in JSON.
#[derive(Debug)]
enum Field {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Field {
    fn into_json(self) -> serde_json::Value {
        match self {
            Self::Bool(truth) => truth.into(),
            Self::Number(number) => number.into(),
            Self::Text(text) => text.into(),
        }
    }
}

fn fields(record: &Record<'_>) -> Vec<(String, Field)> {
    struct Collect(Vec<(String, Field)>);
    impl<'kvs> VisitSource<'kvs> for Collect {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            let field = value
                .to_bool()
                .map(Field::Bool)
                .or_else(|| value.to_i64().map(Field::Number))
                .unwrap_or_else(|| Field::Text(value.to_string()));
            self.0.push((key.to_string(), field));
            Ok(())
        }
    }
    let mut collect = Collect(Vec::new());
    match record.key_values().visit(&mut collect) {
        Ok(()) => collect.0,
        Err(_) => Vec::new(),
    }
}

fn append(line: &mut String, key: &str, value: &str) {
    // Most values are words of ASCII, so bytes are looked at first, all at once.
    let plain_byte = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
    let is_word = value.bytes().fold(true, |so_far, byte| so_far & plain_byte(byte));
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    let is_plain = !value.is_empty() && (is_word || value.chars().all(plain));
    line.push(' ');
    line.push_str(key);
    line.push('=');
    if is_plain {
        return line.push_str(value);
    }
    // Quoted as JSON, so that a value can neither end the line nor look like another field.
    let written = write!(line, "{}", serde_json::Value::from(value));
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

/// A message on one line: nothing that was sent may begin a line of its own.
fn one_line(message: &str) -> Cow<'_, str> {
    if message.contains(char::is_control) {
        Cow::Owned(
            message
                .chars()
                .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
                .collect(),
        )
    } else {
        Cow::Borrowed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_record(message: &str, pairs: &[(&str, Value<'_>)], check: impl FnOnce(&Record<'_>)) {
        let args = format_args!("{message}").to_string();
        check(
            &Record::builder()
                .level(Level::Info)
                .target(SECURITY)
                .key_values(&pairs)
                .args(format_args!("{args}"))
                .build(),
        );
    }

    #[test]
    fn what_strangers_send_is_no_error_of_ours_unless_it_is_asked_for() {
        let hears = |filter: &str, target: &str| {
            let record = Record::builder().level(Level::Error).target(target).build();
            builder(filter).build().matches(&record)
        };
        for filter in ["info", "trace", "info,actix_server=warn", "error,access=off"] {
            assert!(!hears(filter, "actix_http::h1::dispatcher"), "{filter}");
            assert!(hears(filter, "auth_server::tasks"), "{filter}");
        }
        for filter in ["info,actix_http=error", "off,actix_http::h1=debug", "actix_http=trace,info"]
        {
            assert!(hears(filter, "actix_http::h1::dispatcher"), "{filter}");
        }
    }

    #[test]
    fn a_line_reads_alone_and_ends_in_fields() {
        with_record(
            "sign in",
            &[("client", Value::from("demo-web")), ("status", Value::from(200))],
            |record| {
                let line = text_line(record, "7-1");
                assert_eq!(
                    line,
                    "INFO security: sign in client=demo-web status=200 request_id=7-1"
                );
            },
        );
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_a_field() {
        with_record("a\nb", &[("name", Value::from("x\nINFO y=1"))], |record| {
            let line = text_line(record, "");
            assert_eq!(line, r#"INFO security: a\nb name="x\nINFO y=1""#);
        });
    }

    #[test]
    fn json_keeps_numbers_booleans_and_its_own_names() {
        with_record(
            "m",
            &[
                ("status", Value::from(200)),
                ("usable", Value::from(true)),
                ("said", Value::from("true")),
                ("level", Value::from("forged")),
            ],
            |record| {
                let line: serde_json::Value =
                    serde_json::from_str(&json_line(record, "t", "7-1")).unwrap();
                assert_eq!(line["status"], 200);
                assert_eq!(line["usable"], true);
                assert_eq!(line["said"], "true", "text stays text");
                assert_eq!(line["level"], "INFO");
                assert_eq!(line["request_id"], "7-1");
            },
        );
    }
}
