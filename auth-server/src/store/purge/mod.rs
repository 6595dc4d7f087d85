//! Removal of what has expired, in short units of work that each look at one page of a table.
//!
//! A walk goes along the primary key and remembers where it has come to. No index on a time is needed, which every rotation would have to
//! keep, and no unit is long, however large the table. Signature keys are not here: the rotation plan forgets them.

use database::{Sql, Value};
use shared_types::UnixSeconds;

use super::StoreError;
use crate::config::Lifetimes;

/// How long an expired row is kept beyond its end, in seconds: clocks of several instances differ, and a late reader should find out why.
const MARGIN: i64 = 3_600;
/// How long a code that nobody redeemed is kept beyond its end, in seconds: clocks differ by less, and there is nothing to find out.
const CODE_MARGIN: i64 = 120;
/// How long a grant or session that ended early is kept, in seconds: a replay within a day is recognized as one.
const ENDED: i64 = 86_400;

/// The tables that grow by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Codes and the grants that they become.
    Grants,
    /// Browser sessions.
    Sessions,
    /// Access tokens that were given back.
    DeniedTokens,
    /// Counters of failed attempts.
    Throttle,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 4] = [Self::Grants, Self::Sessions, Self::DeniedTokens, Self::Throttle];
}

/// The most rows that one unit of work may look at.
pub const LONGEST_PAGE: i64 = 500;

/// Before which moments rows may go.
#[derive(Clone, Copy, Debug)]
pub struct Cutoffs {
    /// What expired by itself.
    expired: i64,
    /// A code that nobody redeemed.
    code: i64,
    /// What ended before its time.
    ended: i64,
    /// The last use of a grant that can be refreshed.
    idle: i64,
    /// The last use of a grant that cannot.
    spent: i64,
}

impl Cutoffs {
    /// What follows from the lifetimes, the longest life of a token in seconds with the leeway of clocks, and the present.
    pub fn new(lifetimes: &Lifetimes, longest_token: i64, now: UnixSeconds) -> Self {
        let before = |seconds: i64| now.plus(-seconds).plus(-MARGIN).as_i64();
        Self {
            expired: before(0),
            code: now.plus(-CODE_MARGIN).as_i64(),
            ended: now.plus(-ENDED).as_i64(),
            idle: before(lifetimes.refresh_idle.max(longest_token)),
            // Its row is asked for as long as an access token of it may live.
            spent: before(longest_token),
        }
    }
}

/// What one unit of work did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows looked at.
    pub seen: u64,
    /// Rows of them removed.
    pub removed: u64,
    /// Whether the walk has come to the end of the table and begins anew next time.
    pub at_end: bool,
}

/// Looks at the next `length` rows of a table and removes what has expired.
///
/// Safe beside any writer and any other walk: an expired row stays expired, the DELETE itself looks at the row again (a counter may have
/// begun a new window), and of two walks that overlap the later cursor only means that rows are looked at twice.
pub fn page(
    sql: &mut dyn Sql,
    table: Table,
    cutoffs: &Cutoffs,
    length: i64,
) -> Result<Page, StoreError> {
    let name = table.name();
    let after = sql.query("SELECT after_key FROM purge_cursor WHERE name = ?1", &[name.into()])?;
    let after =
        table.key(&after.first().map(|row| row.text(0)).transpose()?.unwrap_or_default())?;
    let seen = sql.query(table.last_of_page(), &[after.clone(), length.into()])?;
    let seen = seen.first().ok_or_else(|| StoreError::Corrupt("a page without its end".into()))?;
    let at_end = seen.int(1)? < length;
    let removed = match seen.int(1)? {
        0 => 0,
        _ => remove(sql, table, cutoffs, after, table.key(&seen.text(0)?)?)?,
    };
    let next = if at_end { String::new() } else { seen.text(0)? };
    sql.execute(
        "INSERT INTO purge_cursor (name, after_key) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET after_key = ?2",
        &[name.into(), next.into()],
    )?;
    Ok(Page { seen: seen.int(1)?.unsigned_abs(), removed, at_end })
}

fn remove(
    sql: &mut dyn Sql,
    table: Table,
    cutoffs: &Cutoffs,
    after: Value,
    last: Value,
) -> Result<u64, StoreError> {
    let Cutoffs { expired, code, ended, idle, spent } = *cutoffs;
    let removed = match table {
        Table::Grants => sql.execute(
            REMOVE_GRANTS,
            &[after, last, expired.into(), ended.into(), idle.into(), spent.into(), code.into()],
        ),
        Table::Sessions => {
            sql.execute(REMOVE_SESSIONS, &[after, last, expired.into(), ended.into()])
        }
        Table::DeniedTokens => sql.execute(REMOVE_DENIED, &[after, last, expired.into()]),
        Table::Throttle => sql.execute(REMOVE_THROTTLE, &[after, last, expired.into()]),
    };
    Ok(removed?)
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Grants => "authorization_grant",
            Self::Sessions => "session",
            Self::DeniedTokens => "denied_token",
            Self::Throttle => "throttle",
        }
    }

    /// A cursor as the primary key is compared; the empty one stands before every row.
    fn key(self, text: &str) -> Result<Value, StoreError> {
        match self {
            Self::Grants | Self::Sessions if text.is_empty() => Ok(i64::MIN.into()),
            Self::Grants | Self::Sessions => {
                let id: i64 = text
                    .parse()
                    .map_err(|_| StoreError::Corrupt("a purge cursor is no id".into()))?;
                Ok(id.into())
            }
            Self::DeniedTokens | Self::Throttle => Ok(text.into()),
        }
    }

    /// The last key of the page behind `?1` of at most `?2` rows, as text, and how many rows it has.
    const fn last_of_page(self) -> &'static str {
        match self {
            Self::Grants => {
                "SELECT CAST(MAX(id) AS TEXT), COUNT(*) FROM \
                 (SELECT id FROM authorization_grant WHERE id > ?1 ORDER BY id LIMIT ?2) AS page"
            }
            Self::Sessions => {
                "SELECT CAST(MAX(id) AS TEXT), COUNT(*) FROM (SELECT id FROM session WHERE id > ?1 ORDER BY id LIMIT ?2) AS page"
            }
            Self::DeniedTokens => {
                "SELECT MAX(jti), COUNT(*) FROM (SELECT jti FROM denied_token WHERE jti > ?1 ORDER BY jti LIMIT ?2) AS page"
            }
            Self::Throttle => {
                "SELECT MAX(bucket), COUNT(*) FROM (SELECT bucket FROM throttle WHERE bucket > ?1 ORDER BY bucket LIMIT ?2) AS page"
            }
        }
    }
}

/// A code that nobody redeemed, a grant past its end, one that ended early, and one that was not used for too long. A spent row otherwise
/// stays, so that a replay of its code is recognized for as long as there is something to end.
const REMOVE_GRANTS: &str = "DELETE FROM authorization_grant WHERE id > ?1 AND id <= ?2 AND ( \
     expires_at <= ?3 OR ended_at <= ?4 OR (spent_at IS NULL AND code_expires_at <= ?7) OR \
     (spent_at IS NOT NULL AND rotated_at <= CASE WHEN refreshable = 1 THEN CAST(?5 AS BIGINT) ELSE CAST(?6 AS BIGINT) END))";

/// Only a session past its absolute end, or one that ended early: an idle one still carries the grants that are refreshed.
const REMOVE_SESSIONS: &str =
    "DELETE FROM session WHERE id > ?1 AND id <= ?2 AND (expires_at <= ?3 OR ended_at <= ?4)";

const REMOVE_DENIED: &str =
    "DELETE FROM denied_token WHERE jti > ?1 AND jti <= ?2 AND expires_at <= ?3";

const REMOVE_THROTTLE: &str =
    "DELETE FROM throttle WHERE bucket > ?1 AND bucket <= ?2 AND window_ends_at <= ?3";

#[cfg(test)]
mod tests;
