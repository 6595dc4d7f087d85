//! Rows that are there before the load: codes, and grants with a live refresh token, written through the server's own store.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use auth_server::domain::account::Account;
use auth_server::domain::grant::{NewGrant, Parties};
use auth_server::domain::pkce::CodeChallenge;
use auth_server::domain::row_id::{CANDIDATES, RowId};
use auth_server::domain::secret::SecretHash;
use auth_server::domain::session::NewSession;
use auth_server::store::{StoreError, accounts, grants, sessions};
use auth_server::tokens::opaque::{self, Opaque, OpaqueKind};
use auth_server::{App, OsRandom, Ports, Settings};
use database::Sql;
use futures_util::future::try_join_all;
use shared_types::{ClientId, Scope, SystemClock, UnixSeconds};
use tests::client::challenge;

use crate::state::{CALLBACK, Web, person};

/// Rows of one unit of work.
const UNIT: usize = 200;
/// Units under way.
const UNITS: usize = 8;
/// How long a seeded family lives, in seconds.
const FAMILY: i64 = 30 * 86_400;

/// What every seeded code was asked for with.
pub const VERIFIER: &str = "a-code-verifier-of-more-than-forty-three-characters";

/// The server's store, opened beside the server.
#[derive(Debug)]
pub struct Seeder {
    /// What the server is made of, beside the server.
    pub app: Arc<App>,
    account: Account,
    session: RowId,
}

/// What of a seeded grant is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A code that nobody has redeemed.
    Code,
    /// Its first refresh token.
    Refresh,
}

impl Seeder {
    /// Opens the database of a server that has started once.
    pub async fn open(settings: Settings) -> Result<Self> {
        let ports = Ports { clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
        let app = Arc::new(App::build(settings, ports).await?);
        let name = person(0);
        let account = app.database.read(move |sql| accounts::find_by_username(sql, &name)).await?;
        let account = account.context("the people are there")?;
        let now = app.clock.now();
        let session = NewSession {
            secret_hash: SecretHash::of(b"nobody's"),
            sid: "0123456789abcdef0123456789abcdef".to_owned(),
            account_id: account.id,
            account_epoch: account.epoch,
            auth_time: now,
            acr: "1".to_owned(),
            amr: vec!["pwd".to_owned()],
            expires_at: now.plus(FAMILY),
        };
        let ids = app.fresh_ids();
        let session = app.database.write(move |sql| sessions::insert(sql, &ids, &session)).await?;
        Ok(Self { app, account, session: session.context("the session is there")? })
    }

    /// Makes that many, and gives every `keep`th of them as its text.
    pub async fn make(
        &self,
        web: Web,
        kind: Kind,
        count: usize,
        keep: usize,
    ) -> Result<Vec<String>> {
        let mut texts = Vec::with_capacity(count / keep + 1);
        let mut made = 0;
        while made < count {
            let mut units = Vec::new();
            for _ in 0..UNITS {
                let length = UNIT.min(count - made);
                let rows = (0..length).map(|_| self.row(web, kind)).collect::<Result<Vec<_>>>()?;
                let kept = (0..length).filter(|at| (made + at) % keep == 0);
                texts.extend(kept.map(|at| self.text(kind, &rows[at])));
                made += length;
                let time = self.app.clock.now();
                units.push(self.app.database.write(move |sql| store(sql, kind, &rows, time)));
            }
            try_join_all(units).await?;
        }
        Ok(texts)
    }

    /// A grant that is to be stored.
    pub fn row(&self, web: Web, kind: Kind) -> Result<Row> {
        let (app, account, now) = (&self.app, &self.account, self.app.clock.now());
        let client_id = ClientId::parse(web.id())?;
        let client = app.freshness.last_seen();
        let client = client.client(&client_id).context("the client is registered")?;
        let secret: [u8; 32] = app.random_bytes();
        let new = NewGrant {
            code_hash: SecretHash::of(&secret),
            code_expires_at: now.plus(600),
            redirect_uri: CALLBACK.to_owned(),
            redirect_uri_sent: true,
            code_challenge: CodeChallenge::parse(&challenge(VERIFIER)),
            nonce: Some("nonce-of-a-client".to_owned()),
            parties: Parties {
                client_id,
                client_epoch: client.epoch,
                account_id: account.id,
                account_epoch: account.epoch,
                session_id: self.session,
                session_epoch: 0,
                consent_epoch: 0,
                subject: account.subject.clone(),
                sid: "0123456789abcdef0123456789abcdef".to_owned(),
                auth_time: now,
                acr: "1".to_owned(),
                amr: vec!["pwd".to_owned()],
            },
            scope: Scope::parse(&web.scope())?,
            resources: vec![web.access.resource()],
            refreshable: true,
            offline: kind == Kind::Refresh,
            salt: app.random_bytes(),
            expires_at: now.plus(FAMILY),
        };
        Ok(Row { ids: app.fresh_ids(), new, secret })
    }

    fn text(&self, kind: Kind, row: &Row) -> String {
        let (vault, id) = (&self.app.vault, row.ids[0]);
        let (secret, kind) = match kind {
            Kind::Code => (row.secret, OpaqueKind::Code),
            Kind::Refresh => {
                (opaque::refresh_secret(vault, id, 0, &row.new.salt), OpaqueKind::Refresh)
            }
        };
        let token = Opaque { id, generation: 0, secret };
        opaque::encode(vault, kind, &token).expose().to_owned()
    }
}

/// A grant that is to be stored.
#[derive(Debug)]
pub struct Row {
    /// Its id: the first.
    pub ids: [RowId; CANDIDATES],
    /// What the server stores when it issues the code.
    pub new: NewGrant,
    secret: [u8; 32],
}

/// Stores grants; those whose refresh token is wanted have their code redeemed.
pub fn store(
    sql: &mut dyn Sql,
    kind: Kind,
    rows: &[Row],
    now: UnixSeconds,
) -> Result<(), StoreError> {
    for Row { ids, new, .. } in rows {
        let stored = grants::insert(sql, ids, new)?;
        if stored != Some(ids[0]) {
            return Err(StoreError::Conflict("the id of a seeded grant is taken"));
        }
        if kind == Kind::Refresh && !grants::spend(sql, ids[0], now)? {
            return Err(StoreError::Conflict("a seeded code cannot be redeemed"));
        }
    }
    Ok(())
}
