//! The text of a migration: statements, words and quotations, and each engine's spelling of the three types.

use super::Dialect;

/// Splits at `;`, drops comments, and puts the engine's types in place of the three words.
pub(super) fn translate(sql: &str, dialect: &Dialect) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut words = 0;
    let mut makes_table = false;
    for piece in pieces(sql).chain([Piece::End]) {
        match piece {
            Piece::Word(word) => {
                words += 1;
                makes_table = match words {
                    1 => word.eq_ignore_ascii_case("CREATE"),
                    2 => makes_table && word.eq_ignore_ascii_case("TABLE"),
                    _ => makes_table,
                };
                current.push_str(match word {
                    "ID" => dialect.id,
                    "INT" => dialect.int,
                    "BYTES" => dialect.bytes,
                    other => other,
                });
            }
            Piece::Other(text) => current.push_str(text),
            Piece::Comment => current.push(' '),
            Piece::End => {
                let mut statement = std::mem::take(&mut current).trim().to_owned();
                if makes_table && words > 1 && statement.ends_with(')') {
                    statement.push_str(dialect.table_suffix);
                }
                if !statement.is_empty() {
                    statements.push(statement);
                }
                (words, makes_table) = (0, false);
            }
        }
    }
    statements
}

/// As much of SQL's lexical structure as it takes to know a word from a quotation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Word(&'a str),
    /// A quoted text or name with its quotes, a space, a number, an operator.
    Other(&'a str),
    Comment,
    /// `;`
    End,
}

pub(super) fn pieces(sql: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if rest.starts_with("--") => rest.find('\n'),
            _ if rest.starts_with("/*") => rest.find("*/").map(|at| at + 2),
            // A doubled quote inside reads as two quotations side by side, which is as good.
            '\'' | '"' => rest
                .chars()
                .skip(1)
                .position(|c| c == first)
                .map(|inner| rest.chars().take(inner + 2).map(char::len_utf8).sum()),
            c if is_word(c) => rest.find(|c| !is_word(c)),
            c => Some(c.len_utf8()),
        };
        let (piece, after) = rest.split_at(length.unwrap_or(rest.len()));
        rest = after;
        Some(match first {
            _ if piece.starts_with("--") || piece.starts_with("/*") => Piece::Comment,
            ';' => Piece::End,
            c if is_word(c) => Piece::Word(piece),
            _ => Piece::Other(piece),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: Dialect =
        Dialect { id: "A", int: "B", bytes: "C", table_suffix: " D", index: None };

    #[test]
    fn types_are_replaced_and_nothing_else() {
        let sql = "-- ID; INT\nCREATE TABLE t (id ID PRIMARY KEY, n INT, \"INT\" BYTES /* ID; */);\n\
                   CREATE INDEX t_n ON t (n) WHERE n <> 1;INSERT INTO t VALUES ('INT; ''ID', 'ü');";
        assert_eq!(
            translate(sql, &WORDS),
            [
                "CREATE TABLE t (id A PRIMARY KEY, n B, \"INT\" C  ) D",
                "CREATE INDEX t_n ON t (n) WHERE n <> 1",
                "INSERT INTO t VALUES ('INT; ''ID', 'ü')",
            ]
        );
    }

    #[test]
    fn an_unfinished_text_ends_with_the_file() {
        assert_eq!(translate("SELECT 'a", &WORDS), ["SELECT 'a"]);
        assert_eq!(translate("SELECT 1 /* a", &WORDS), ["SELECT 1"]);
        assert_eq!(translate(" ;; -- a", &WORDS), Vec::<String>::new());
    }
}
