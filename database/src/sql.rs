//! The seam: what a unit of work may ask of an engine, and the values that cross it.

use std::fmt;

use crate::DatabaseError;

/// One open transaction of either engine.
///
/// The text is `&'static str`: it keys the statement cache, and SQL built from input does not
/// compile. Placeholders are `?1`, `?2`, …; one statement a call; transactions belong to the
/// engine, so no `BEGIN`, `COMMIT` or `SAVEPOINT`.
///
/// **The first failure wins**: once a statement has failed, each later one fails alike and the
/// unit rolls back, even if the closure swallows the error and returns `Ok`. PostgreSQL can do no
/// other, so SQLite does the same.
pub trait Sql {
    /// Runs a statement that returns no rows; answers how many rows it changed.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, DatabaseError>;

    /// Runs a statement and returns all of its rows; `.. RETURNING ..` belongs here too.
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, DatabaseError>;
}

/// A parameter or a column, owned. Times are Unix seconds and flags 0 or 1, both `Int`.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A 64-bit integer.
    Int(i64),
    /// UTF-8 text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

/// Texts and bytes may be secrets or personal data: only their length is shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Int(int) => write!(f, "Int({int})"),
            Self::Text(text) => write!(f, "Text(<{} bytes>)", text.len()),
            Self::Bytes(bytes) => write!(f, "Bytes(<{} bytes>)", bytes.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(i64::from(flag))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Self {
        option.map_or(Self::Null, Into::into)
    }
}

/// One row of a result, owned: it outlives its transaction. Columns are counted from 0, in the
/// order of the SELECT or RETURNING list.
///
/// A column that is absent or of another type is [`DatabaseError::Corrupt`]: the schema is ours,
/// so it means a wrong query or a damaged file, never bad input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    values: Vec<Value>,
}

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self { values }
    }

    /// All columns.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The integer in a column.
    pub fn int(&self, column: usize) -> Result<i64, DatabaseError> {
        self.opt_int(column)?.ok_or_else(|| mismatch(column, "an integer", &Value::Null))
    }

    /// The text in a column.
    pub fn text(&self, column: usize) -> Result<String, DatabaseError> {
        self.opt_text(column)?.ok_or_else(|| mismatch(column, "a text", &Value::Null))
    }

    /// The bytes in a column.
    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, DatabaseError> {
        self.opt_bytes(column)?.ok_or_else(|| mismatch(column, "bytes", &Value::Null))
    }

    /// The flag in a column: an integer that is 0 or 1.
    pub fn flag(&self, column: usize) -> Result<bool, DatabaseError> {
        match self.value(column)? {
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            other => Err(mismatch(column, "a flag", other)),
        }
    }

    /// The integer in a column, or `None` for NULL.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, DatabaseError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Int(int) => Ok(Some(*int)),
            other => Err(mismatch(column, "an integer", other)),
        }
    }

    /// The text in a column, or `None` for NULL.
    pub fn opt_text(&self, column: usize) -> Result<Option<String>, DatabaseError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.clone())),
            other => Err(mismatch(column, "a text", other)),
        }
    }

    /// The bytes in a column, or `None` for NULL.
    pub fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, DatabaseError> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes.clone())),
            other => Err(mismatch(column, "bytes", other)),
        }
    }

    fn value(&self, column: usize) -> Result<&Value, DatabaseError> {
        self.values
            .get(column)
            .ok_or_else(|| DatabaseError::Corrupt(format!("a row has no column {column}")))
    }
}

/// `Debug` of a value shows no content, so the message may be logged.
fn mismatch(column: usize, wanted: &str, found: &Value) -> DatabaseError {
    DatabaseError::Corrupt(format!("column {column} should hold {wanted}, found {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_texts_nor_bytes() {
        let row = Row::new(vec!["secret".into(), b"secret".into(), 7.into(), Value::Null]);
        let shown = format!("{row:?}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
        assert!(shown.contains("Int(7)"), "{shown}");
        let fault = row.int(0).unwrap_err().to_string();
        assert!(!fault.contains("secret"), "{fault}");
    }

    #[test]
    fn a_column_of_another_type_is_corrupt() {
        let row = Row::new(vec![2.into(), Value::Null, "text".into()]);
        let corrupt = |fault: DatabaseError| matches!(fault, DatabaseError::Corrupt(_));
        assert!(corrupt(row.flag(0).unwrap_err()), "2 is no flag");
        assert!(corrupt(row.int(1).unwrap_err()), "NULL is no integer");
        assert!(corrupt(row.opt_bytes(2).unwrap_err()), "text is no bytes");
        assert!(corrupt(row.opt_text(3).unwrap_err()), "there is no column 3");
        assert_eq!(row.opt_text(1), Ok(None));
    }
}
