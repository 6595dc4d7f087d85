//! Grants ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749)) from the code to the last refresh token, on a real database in a temporary folder, with time and chance in hand.

mod authorization_code;
mod refresh_token;

use std::collections::BTreeSet;
use std::sync::Arc;

use database::{DatabaseUrl, Sql};
use futures_util::future::join_all;
use shared_types::{ClientId, Issuer, ManualClock, Scope, Subject, UnixSeconds};
use tempfile::TempDir;

use super::issued::{genuine_refresh_token, live_access_token};
use super::{GrantContext, Request, TokenResponse, redeem};
use crate::app::{App, Ports};
use crate::config::Settings;
use crate::domain::account::NewAccount;
use crate::domain::audience::TargetFault;
use crate::domain::client::ClientMetadata;
use crate::domain::grant::{NewGrant, Parties};
use crate::domain::pkce::CodeChallenge;
use crate::domain::row_id::RowId;
use crate::domain::secret::SecretHash;
use crate::domain::session::NewSession;
use crate::error::TokenError;
use crate::keys::ring::ID_TOKEN_TYP;
use crate::params::Params;
use crate::random::SeededRandom;
use crate::store::clients::NewClient;
use crate::store::{StoreError, accounts, apis, clients, consents, grants, sessions};
use crate::tokens::opaque::{self, Opaque, OpaqueKind};

const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const API: &str = "http://localhost:9001";
const CALLBACK: &str = "https://web.example/callback";

/// A server without its listener: one person, signed in, and some clients. The confidential ones have their name as secret.
pub(crate) struct World {
    pub(crate) app: Arc<App>,
    clock: Arc<ManualClock>,
    session: RowId,
    account: RowId,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = DatabaseUrl::Sqlite(folder.path().join("auth-server.db"));
        let settings = Settings::new(Issuer::parse("http://localhost:9000").unwrap(), database);
        let clock = Arc::new(ManualClock::new(NOW));
        let ports = Ports { clock: clock.clone(), random: Arc::new(SeededRandom::new(7)) };
        let app = Arc::new(App::build(settings, ports).await.unwrap());
        let ids = (app.fresh_ids(), app.fresh_ids());
        let (account, session) = app.database.write(move |sql| seed(sql, ids)).await.unwrap();
        app.poll().await.unwrap();
        Self { app, clock, session, account, _folder: folder }
    }

    /// A code as `/authorize` hands it out, for the client `web` unless `change` says otherwise.
    pub(crate) async fn code(&self, change: impl FnOnce(&mut NewGrant)) -> String {
        let secret: [u8; 32] = self.app.random_bytes();
        let mut new = NewGrant {
            code_hash: SecretHash::of(&secret),
            code_expires_at: self.now().plus(60),
            redirect_uri: CALLBACK.into(),
            redirect_uri_sent: true,
            code_challenge: CodeChallenge::parse(CHALLENGE),
            nonce: Some("n-1".into()),
            parties: self.parties(),
            scope: scope("openid offline_access read write"),
            resources: Vec::new(),
            refreshable: true,
            offline: false,
            salt: self.app.random_bytes(),
            expires_at: self.now().plus(86_400 * 180),
        };
        change(&mut new);
        let ids = self.app.fresh_ids();
        let id = self
            .app
            .database
            .write(move |sql| grants::insert(sql, &ids, &new))
            .await
            .unwrap()
            .unwrap();
        let code = Opaque { id, generation: 0, secret };
        opaque::encode(&self.app.vault, OpaqueKind::Code, &code).expose().to_owned()
    }

    fn parties(&self) -> Parties {
        Parties {
            client_id: client_id("web"),
            client_epoch: 5,
            account_id: self.account,
            account_epoch: 0,
            session_id: self.session,
            session_epoch: 0,
            consent_epoch: 0,
            subject: Subject::parse("acct_alice").unwrap(),
            sid: "sid-1".into(),
            auth_time: NOW,
            acr: "1".into(),
            amr: vec!["pwd".into()],
        }
    }

    fn now(&self) -> UnixSeconds {
        self.app.clock.now()
    }

    /// What `/token` does once the client is authenticated.
    async fn request(&self, client: &str, form: &str) -> Result<TokenResponse, TokenError> {
        let registry = self.app.registry().await?;
        let client = registry.client(&client_id(client)).unwrap();
        let request = Request::try_from(&Params::parse(form.as_bytes()).unwrap())?;
        redeem(
            GrantContext { app: &self.app, registry: &registry, client, now: self.now() },
            request,
        )
        .await
    }

    async fn redeem(&self, code: &str) -> Result<TokenResponse, TokenError> {
        self.redeem_as("web", code).await
    }

    pub(crate) async fn redeem_as(
        &self,
        client: &str,
        code: &str,
    ) -> Result<TokenResponse, TokenError> {
        self.request(client, &redemption(code)).await
    }

    async fn refresh(&self, token: &str) -> Result<TokenResponse, TokenError> {
        self.request("web", &format!("grant_type=refresh_token&refresh_token={token}")).await
    }

    async fn counts(&self, response: &TokenResponse) -> bool {
        let registry = self.app.registry().await.unwrap();
        let token = response.access_token.expose();
        live_access_token(&self.app, &registry, token, self.now()).await.unwrap().is_some()
    }

    async fn write(
        &self,
        work: impl FnMut(&mut dyn Sql) -> Result<(), StoreError> + Send + 'static,
    ) {
        self.app.database.write(work).await.unwrap();
    }
}

fn seed(sql: &mut dyn Sql, ids: ([RowId; 4], [RowId; 4])) -> Result<(RowId, RowId), StoreError> {
    let api = r#"{"identifier":"http://localhost:9001","name":"Documents","scopes":{"read":"","write":""},
        "access_token_lifetime":300,"signing_alg":"ES256","default":true,"introspected_by":["documents-rs"]}"#;
    apis::put(sql, &serde_json::from_str(api).unwrap())?;
    for (name, method, rotation) in [
        ("web", "none", true),
        ("other", "none", true),
        ("keeper", "client_secret_basic", false),
        ("stranger", "client_secret_basic", true),
        ("documents-rs", "client_secret_post", true),
    ] {
        let metadata = format!(
            r#"{{"client_id":"{name}","token_endpoint_auth_method":"{method}","refresh_token_rotation":{rotation},
                "grant_types":["authorization_code","refresh_token","client_credentials"],
                "scope":"openid offline_access read write","id_token_signed_response_alg":"ES256"}}"#
        );
        let metadata: ClientMetadata = serde_json::from_str(&metadata).unwrap();
        let secret = (method != "none").then(|| SecretHash::of(name.as_bytes()));
        clients::insert(sql, &NewClient { metadata, secret, epoch: 5, created_at: NOW })?;
    }
    let account = NewAccount {
        subject: Subject::parse("acct_alice").unwrap(),
        username: "alice".into(),
        password_hash: "none".into(),
        claims: serde_json::Map::new(),
        created_at: NOW,
    };
    let account_id = accounts::insert(sql, &ids.0, &account)?.unwrap();
    let session = NewSession {
        secret_hash: SecretHash::of(b"cookie"),
        sid: "sid-1".into(),
        account_id,
        account_epoch: 0,
        auth_time: NOW,
        acr: "1".into(),
        amr: vec!["pwd".into()],
        expires_at: NOW.plus(86_400),
    };
    Ok((account_id, sessions::insert(sql, &ids.1, &session)?.unwrap()))
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn client_id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

fn redemption(code: &str) -> String {
    format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
    )
}

fn refresh_token(response: &TokenResponse) -> String {
    response.refresh_token.as_ref().unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_client_acts_for_itself_without_a_write() {
    let world = World::new().await;
    let before = world.app.database.statistics().units;
    let response =
        world.request("keeper", "grant_type=client_credentials&scope=read").await.unwrap();
    assert!(response.refresh_token.is_none() && response.id_token.is_none());
    assert!(world.counts(&response).await);
    assert_eq!(world.app.database.statistics().units, before);
    let openid =
        world.request("keeper", "grant_type=client_credentials&scope=openid").await.unwrap_err();
    assert_eq!(openid, TokenError::ScopeRefused);
    let public =
        world.request("web", "grant_type=client_credentials&scope=read").await.unwrap_err();
    assert_eq!(public, TokenError::GrantNotAllowed);
    world.write(|sql| clients::set_enabled(sql, &client_id("keeper"), false, NOW).map(drop)).await;
    world.app.poll().await.unwrap();
    assert!(!world.counts(&response).await, "its tokens end with the client");
}

#[tokio::test]
async fn clocks_that_differ_neither_save_a_clients_own_token_nor_void_the_next() {
    const FORM: &str = "grant_type=client_credentials&scope=read";
    let world = World::new().await;
    world.clock.advance(3);
    let ahead = world.request("keeper", FORM).await.unwrap();
    world.write(|sql| clients::revoke_tokens(sql, &client_id("keeper"), NOW).map(drop)).await;
    world.app.poll().await.unwrap();
    assert!(!world.counts(&ahead).await, "issued before, by a clock that is ahead");
    world.clock.set(NOW.plus(-3));
    world.app.poll().await.unwrap();
    let behind = world.request("keeper", FORM).await.unwrap();
    assert!(world.counts(&behind).await, "issued after, by a clock that is behind");
}
