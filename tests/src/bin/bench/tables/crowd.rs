//! Many live refresh tokens: rows exactly as the server stores them. A thousand go through its own store, the others are copies of those
//! with ids of their own, made by the database itself.

use anyhow::{Context as _, Result, ensure};
use auth_server::domain::row_id::{CANDIDATES, RowId};
use auth_server::store::StoreError;
use auth_server::tokens::opaque::{self, Opaque, OpaqueKind};
use futures_util::future::try_join_all;

use crate::seed::{Kind, Row, Seeder, store};
use crate::state::Web;

/// Rows that are stored by the server's own store, one by one.
const PATTERN: u64 = 1_000;
/// Rows of one statement through the server's store.
const UNIT: usize = 200;
/// Copies of the pattern in one unit of work.
const COPIES: u64 = 10;
/// Units under way.
const UNITS: usize = 3;
/// Over how long the codes were issued, in milliseconds: within the life of every token.
const SPAN_MILLIS: i64 = 20 * 86_400_000;
/// How many bits of an id stand below its milliseconds.
const BITS_BELOW: u32 = 22;

/// The rows between two ids once more, with ids that are higher by a number. Whoever adds a column that counts will be told by the tokens:
/// they live no more.
const COPY: &str = "INSERT INTO authorization_grant (id, code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, \
     nonce, spent_at, client_id, client_epoch, account_id, account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, \
     resources, auth_time, acr, amr, offline, salt, refreshable, generation, rotated_at, retries, expires_at) \
     SELECT id + ?1, code_hash, code_expires_at, redirect_uri, redirect_uri_sent, code_challenge, \
     nonce, spent_at, client_id, client_epoch, account_id, account_epoch, session_id, session_epoch, consent_epoch, subject, sid, scope, \
     resources, auth_time, acr, amr, offline, salt, refreshable, generation, rotated_at, retries, expires_at \
     FROM authorization_grant WHERE id >= ?2 AND id < ?3";

/// Grants whose ids have equal distances, as if their codes had been issued one after the other, and which live.
#[derive(Debug)]
pub struct Crowd {
    /// Whose they are.
    pub web: Web,
    /// How many.
    pub count: u64,
    first: i64,
    step: i64,
    salts: Vec<[u8; 16]>,
}

impl Crowd {
    /// Stores that many grants.
    pub async fn store(seeder: &Seeder, web: Web, count: u64) -> Result<Self> {
        ensure!(count >= PATTERN, "a table has at least {PATTERN} tokens");
        let span = SPAN_MILLIS << BITS_BELOW;
        let step = span / i64::try_from(count)?;
        let first = seeder.app.fresh_ids()[0].as_i64() - span;
        let mut crowd = Self { web, count, first, step, salts: Vec::new() };
        crowd.store_pattern(seeder).await?;
        let mut copied = 1;
        let copies = count.div_ceil(PATTERN);
        while copied < copies {
            let mut units = Vec::new();
            for _ in 0..UNITS {
                let until = copies.min(copied + COPIES);
                units.push(crowd.copy(seeder, copied, until));
                copied = until;
            }
            try_join_all(units).await?;
        }
        Ok(crowd)
    }

    /// The id of row `number`.
    pub fn id(&self, number: u64) -> RowId {
        RowId::new(self.first + i64::try_from(number).unwrap_or(0) * self.step)
    }

    /// The first refresh token of row `number`.
    pub fn token(&self, seeder: &Seeder, number: u64) -> String {
        let (vault, id) = (&seeder.app.vault, self.id(number));
        let salt = &self.salts[(number % PATTERN) as usize];
        let secret = opaque::refresh_secret(vault, id, 0, salt);
        let token = Opaque { id, generation: 0, secret };
        opaque::encode(vault, OpaqueKind::Refresh, &token).expose().to_owned()
    }

    /// The rows `from..until` of an order in which every stretch is spread evenly over all of the table, and no row comes twice.
    pub fn spread(&self, from: u64, until: u64) -> impl Iterator<Item = u64> + use<> {
        let count = self.count;
        // The golden section of the table, or the next number that meets every row.
        let golden = (count as f64 * 0.618_033_988_75) as u64;
        let stride =
            (golden..count).find(|stride| common_divisor(*stride, count) == 1).unwrap_or(1);
        let place = move |at| (u128::from(at) * u128::from(stride) % u128::from(count)) as u64;
        (from..until.min(count)).map(place)
    }

    async fn store_pattern(&mut self, seeder: &Seeder) -> Result<()> {
        let numbers: Vec<u64> = (0..PATTERN).collect();
        for part in numbers.chunks(UNIT) {
            let row = |number: &u64| -> Result<Row> {
                let mut row = seeder.row(self.web, Kind::Refresh)?;
                row.ids = [self.id(*number); CANDIDATES];
                Ok(row)
            };
            let rows = part.iter().map(row).collect::<Result<Vec<_>>>()?;
            self.salts.extend(rows.iter().map(|row| row.new.salt));
            let now = seeder.app.clock.now();
            let stored =
                seeder.app.database.write(move |sql| store(sql, Kind::Refresh, &rows, now));
            stored.await?;
        }
        Ok(())
    }

    /// Copies the pattern to the places `from..until`; the last one may have room for less than all of it.
    async fn copy(&self, seeder: &Seeder, from: u64, until: u64) -> Result<()> {
        let values = |place: u64| {
            let rows = PATTERN.min(self.count - place * PATTERN);
            let higher = i64::try_from(place * PATTERN).ok()? * self.step;
            Some([higher.into(), self.id(0).into(), self.id(rows).into()])
        };
        let values: Option<Vec<_>> = (from..until).map(values).collect();
        let values = values.context("ids have 63 bits")?;
        let copied = seeder.app.database.write(move |sql| {
            for values in &values {
                sql.execute(COPY, values)?;
            }
            Ok::<_, StoreError>(())
        });
        Ok(copied.await?)
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
