//! One visit of a person: a browser that signed in, the grants that came of it, and the ledger over both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use reqwest::Method;
use tests::browser::{Browser, Page};
use tests::client::{Client, Pending};
use tests::http::{Answer as HttpAnswer, Http, try_send};
use tests::world::{SECRET, WEB_CALLBACK};

use super::ledger::{Answer, Fault, Ledger, Op};
use super::wire::{Lost, Run};

/// What a grant that outlives its session asks for, and one that does not.
const SCOPES: [&str; 2] = ["openid documents:read", "openid documents:read offline_access"];
/// What a sign-in is for; each grant asks for its own.
pub const SIGN_IN_SCOPE: &str = SCOPES[0];
/// How many access tokens, from the newest on, an audit asks about.
const AUDITED: usize = 4;

/// A way to the server.
#[derive(Clone, Debug)]
pub struct Wire {
    /// The run.
    pub run: Arc<Run>,
    /// Its connections.
    pub http: Http,
    /// The client for which people sign in.
    pub web: Client,
}

impl Wire {
    /// One with connections of its own.
    pub fn new(run: &Arc<Run>) -> Self {
        let web = Client::new(&run.issuer, "web", SECRET, WEB_CALLBACK);
        Self { run: run.clone(), http: Http::new(), web }
    }

    async fn post(
        &self,
        id: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<HttpAnswer, Lost> {
        let url = format!("{}{path}", self.run.issuer);
        let request = self.http.request(Method::POST, &url).basic_auth(id, Some(SECRET));
        let answer = self.run.call(try_send(request.form(fields))).await?;
        if answer.status == 503 { Err(Lost::Unknown) } else { Ok(answer) }
    }

    /// Opens a page and follows its redirects as long as they stay here.
    pub async fn open(&self, browser: &mut Browser, url: &str) -> Result<Page, Lost> {
        let page = self.shown(browser.try_get(url)).await?;
        self.settle(browser, page).await
    }

    async fn settle(&self, browser: &mut Browser, mut page: Page) -> Result<Page, Lost> {
        while page.redirects() && page.location().origin() == page.url.origin() {
            page = self.shown(browser.try_get(page.location().as_str())).await?;
        }
        Ok(page)
    }

    /// A page, unless it says that the server cannot show one now.
    pub async fn shown(
        &self,
        page: impl Future<Output = reqwest::Result<Page>>,
    ) -> Result<Page, Lost> {
        let page = self.run.call(page).await?;
        if page.status() == 503 { Err(Lost::Unknown) } else { Ok(page) }
    }
}

/// What a request brought.
#[derive(Debug)]
struct Sent {
    /// What it was; a person who is asked to sign in cannot sign out.
    op: Op,
    answer: Answer,
    code: Option<(String, Pending)>,
    /// An access token and whose it is.
    access: Option<(String, &'static str)>,
}

impl Sent {
    fn new(op: Op, answer: Answer) -> Self {
        Self { op, answer, code: None, access: None }
    }
}

/// A visit.
#[derive(Debug)]
pub struct Visit {
    /// The ledger.
    pub ledger: Ledger,
    wire: Wire,
    /// Client and number of the visit.
    name: (usize, u64),
    browser: Browser,
    /// Whether the person agreed to each of [`SCOPES`], as far as was answered.
    pub agreed: [bool; 2],
    codes: Vec<(String, Pending)>,
    access: Vec<(String, &'static str)>,
    closed: BTreeSet<usize>,
    sent: u64,
}

impl Visit {
    /// The visit of somebody who just signed in with `browser`.
    pub fn new(wire: &Wire, name: (usize, u64), browser: Browser, agreed: [bool; 2]) -> Self {
        Self {
            ledger: Ledger::signed_in(),
            wire: wire.clone(),
            name,
            browser,
            agreed,
            codes: Vec::new(),
            access: Vec::new(),
            closed: BTreeSet::new(),
            sent: 0,
        }
    }

    /// Whether a grant gives nothing any more, as far as was answered.
    pub fn is_closed(&self, grant: usize) -> bool {
        self.closed.contains(&grant)
    }

    /// Sends requests, all at once, and enters what came back. Whether all were answered.
    pub async fn act(&mut self, ops: &[Op]) -> bool {
        self.sent += 1;
        let tag = format!("{}-{}-{}", self.name.0, self.name.1, self.sent);
        let sending = ops.iter().map(|op| self.send(*op, &tag));
        let sent = futures_util::future::join_all(sending).await;
        let mut entries = Vec::new();
        for (op, sent) in ops.iter().zip(sent) {
            match sent {
                Ok(sent) => entries.push(sent),
                Err(Lost::Unsent) => {}
                Err(Lost::Unknown) => entries.push(Sent::new(*op, Answer::Unknown)),
            }
        }
        let known = entries.iter().filter(|sent| sent.answer != Answer::Unknown).count();
        self.enter(entries);
        if known < ops.len() {
            self.wire.run.until_up().await;
        }
        known == ops.len()
    }

    fn enter(&mut self, sent: Vec<Sent>) {
        let calls: Vec<_> = sent.iter().map(|sent| (sent.op, sent.answer.clone())).collect();
        if let Err(fault) = self.ledger.enter_all(&calls) {
            self.fail(&fault);
        }
        for Sent { op, answer, code, access } in sent {
            self.count(op, &answer);
            match (op, &answer) {
                (Op::Redeem(grant), Answer::Tokens(token)) => self.place(token, grant, Some(0)),
                (Op::Refresh(grant, used), Answer::Tokens(token)) => {
                    self.place(token, grant, Some(used + 1));
                }
                (Op::Authorize { offline }, Answer::Code) => {
                    self.agreed[usize::from(offline)] = true;
                }
                (Op::Redeem(grant) | Op::Refresh(grant, _), Answer::Refused)
                | (Op::Revoke(grant, _), Answer::Done) => {
                    self.closed.insert(grant);
                }
                _ => {}
            }
            if let Some(code) = code {
                self.place(&code.0, self.codes.len(), None);
                self.codes.push(code);
            }
            self.access.extend(access);
        }
    }

    fn count(&self, op: Op, answer: &Answer) {
        if op.only_asks() {
            return;
        }
        if *answer == Answer::Unknown {
            self.wire.run.unknown.fetch_add(1, Ordering::Relaxed);
        } else {
            self.wire.run.acknowledge();
        }
    }

    fn place(&self, token: &str, grant: usize, generation: Option<u32>) {
        let place = (self.name.0, self.name.1, grant, generation);
        if let Some(known) = self.wire.run.given_elsewhere(token, place) {
            panic!("seed {}: one token is that of {place:?} and of {known:?}", self.wire.run.seed);
        }
    }

    fn fail(&self, fault: &Fault) -> ! {
        panic!("seed {}, visit {:?}: {fault}", self.wire.run.seed, self.name)
    }

    async fn send(&self, op: Op, tag: &str) -> Result<Sent, Lost> {
        match op {
            Op::Authorize { offline } => {
                self.authorize(op, SCOPES[usize::from(offline)], tag).await
            }
            Op::Redeem(grant) => {
                let (code, pending) = &self.codes[grant];
                let fields = [
                    ("grant_type", "authorization_code"),
                    ("code", code),
                    ("redirect_uri", WEB_CALLBACK),
                    ("code_verifier", &pending.verifier),
                ];
                self.token(op, "web", &fields).await
            }
            Op::Refresh(grant, generation) => {
                let token = self.refresh_token(grant, generation);
                let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
                self.token(op, "web", &fields).await
            }
            Op::ClientCredentials => {
                let fields = [("grant_type", "client_credentials"), ("scope", "documents:read")];
                self.token(op, "machine", &fields).await
            }
            Op::Revoke(grant, generation) => {
                self.revoke(op, "web", self.refresh_token(grant, generation)).await
            }
            Op::Deny(token) => self.revoke(op, self.access[token].1, &self.access[token].0).await,
            Op::IsCurrent(grant, generation) => {
                self.introspect(op, "web", self.refresh_token(grant, generation)).await
            }
            Op::IsLive(token) => {
                self.introspect(op, self.access[token].1, &self.access[token].0).await
            }
            Op::SignOut => self.sign_out().await,
            Op::IsSignedIn => {
                let asked = self.ask_to_sign_out(&mut self.browser.clone()).await?;
                Ok(Sent::new(op, Answer::Is(asked.is_some())))
            }
        }
    }

    fn refresh_token(&self, grant: usize, generation: u32) -> &str {
        self.ledger.token(grant, generation).expect("it was told")
    }

    async fn token(&self, op: Op, id: &'static str, fields: &[(&str, &str)]) -> Result<Sent, Lost> {
        let answer = self.wire.post(id, "/token", fields).await?;
        if answer.status == 400 && answer.error() == "invalid_grant" {
            return Ok(Sent::new(op, Answer::Refused));
        }
        let answer = answer.expect(200);
        let told = match op {
            Op::ClientCredentials => Answer::AccessToken,
            _ => Answer::Tokens(answer.member("refresh_token")),
        };
        let access = Some((answer.member("access_token"), id));
        Ok(Sent { access, ..Sent::new(op, told) })
    }

    async fn revoke(&self, op: Op, id: &str, token: &str) -> Result<Sent, Lost> {
        self.wire.post(id, "/revoke", &[("token", token)]).await?.expect(200);
        Ok(Sent::new(op, Answer::Done))
    }

    async fn introspect(&self, op: Op, id: &str, token: &str) -> Result<Sent, Lost> {
        let answer = self.wire.post(id, "/introspect", &[("token", token)]).await?.expect(200);
        let active = answer.json()["active"].as_bool().expect("it says whether");
        Ok(Sent::new(op, Answer::Is(active)))
    }

    /// In a copy of the browser, so that nothing is forgotten about a session that should have ended.
    async fn authorize(&self, op: Op, scope: &str, tag: &str) -> Result<Sent, Lost> {
        let (wire, mut browser) = (&self.wire, self.browser.clone());
        let pending = wire.web.begin(scope, tag);
        let mut page = wire.open(&mut browser, &pending.url()).await?;
        if page.element("login-form").is_some() {
            return Ok(Sent::new(op, Answer::Refused));
        }
        if page.element("consent-form").is_some() {
            let at = usize::from(matches!(op, Op::Authorize { offline: true }));
            let (seed, name) = (wire.run.seed, self.name);
            assert!(!self.agreed[at], "seed {seed}, visit {name:?}: an answered consent is lost");
            let form = page.form("consent-form").press("consent-allow");
            let next = wire.shown(browser.try_submit(&page, &form)).await?;
            page = wire.settle(&mut browser, next).await?;
        }
        let code = pending.code(&page, &wire.web);
        Ok(Sent { code: Some((code, pending)), ..Sent::new(op, Answer::Code) })
    }

    /// The page that asks a person who is signed in.
    async fn ask_to_sign_out(&self, browser: &mut Browser) -> Result<Option<Page>, Lost> {
        let url = format!("{}/end_session", self.wire.run.issuer);
        let page = self.wire.open(browser, &url).await?;
        let asked = page.element("logout-form").is_some();
        assert!(asked || page.element("logged-out").is_some(), "{}", page.text());
        Ok(asked.then_some(page))
    }

    async fn sign_out(&self) -> Result<Sent, Lost> {
        let mut browser = self.browser.clone();
        // Nothing has happened yet when this is lost.
        let asked = self.ask_to_sign_out(&mut browser).await.map_err(|_| Lost::Unsent)?;
        let Some(page) = asked else {
            return Ok(Sent::new(Op::IsSignedIn, Answer::Is(false)));
        };
        let form = page.form("logout-form").press("logout-confirm");
        let done = self.wire.shown(browser.try_submit(&page, &form)).await?;
        assert!(done.redirects(), "{}", done.text());
        Ok(Sent::new(Op::SignOut, Answer::Done))
    }

    /// Asks a question until it is answered: it has no effect that could come twice.
    pub async fn ask(&mut self, question: Op) {
        let known = self.ledger.must(question).is_some();
        while !self.act(&[question]).await {}
        let run = &self.wire.run;
        let count = if known { &run.verified } else { &run.settled };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks about everything that the ledger knows, so that from here on each of it is one way.
    pub async fn audit(&mut self) {
        self.ask(Op::IsSignedIn).await;
        for grant in 0..self.ledger.grants() {
            let Some(newest) = self.ledger.newest(grant) else { continue };
            self.ask(Op::IsCurrent(grant, newest)).await;
            if newest > 0 && self.ledger.token(grant, newest - 1).is_some() {
                self.ask(Op::IsCurrent(grant, newest - 1)).await;
            }
        }
        for token in (0..self.ledger.access_tokens()).rev().take(AUDITED) {
            self.ask(Op::IsLive(token)).await;
        }
    }

    /// After everything: what ended is still over, what was not ended still works, and a replay ends it.
    pub async fn close(&mut self) {
        self.ledger.note("the last look");
        self.ask(Op::IsSignedIn).await;
        for token in 0..self.ledger.access_tokens() {
            // The others may have expired since.
            if self.ledger.must(Op::IsLive(token)) == Some(false) {
                self.ask(Op::IsLive(token)).await;
            }
        }
        for grant in 0..self.ledger.grants() {
            let Some(newest) = self.ledger.newest(grant) else { continue };
            self.ask(Op::IsCurrent(grant, newest)).await;
            while !self.act(&[Op::Refresh(grant, newest)]).await {}
            while !self.act(&[Op::Redeem(grant)]).await {}
            let newest = self.ledger.newest(grant).unwrap_or(newest);
            self.ask(Op::IsCurrent(grant, newest)).await;
        }
    }
}
