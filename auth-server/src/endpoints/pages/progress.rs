//! How an authorization request goes on: sign in, consent, code. Every page of the flow ends here, so the order is written once
//! ([RFC 6749 section 4.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1),
//! [OpenID Connect Core section 3.1.2](https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint)).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use shared_types::{Scope, UnixSeconds};

use super::cookies::{self, Browser};
use super::sealed_request::Pending;
use super::{page, reply};
use crate::app::App;
use crate::domain::account::Account;
use crate::domain::authorization_request::{
    AuthorizationRequest, AuthorizeError, RedirectFault, ShowFault, SignedIn,
};
use crate::domain::client::GrantType;
use crate::domain::consent::must_ask;
use crate::domain::grant::{NewGrant, Parties};
use crate::domain::registry::Registry;
use crate::domain::row_id::{CANDIDATES, RowId};
use crate::domain::secret::SecretHash;
use crate::domain::session::Session;
use crate::error::PageFault;
use crate::log_format::security_event;
use crate::params::Params;
use crate::store::{StoreError, clients, consents, grants, sessions};
use crate::tokens::id_token;
use crate::tokens::opaque::{self, Opaque, OpaqueKind};

/// Where the sign-in page is, below the issuer.
pub const LOGIN: &str = "/login";
/// Where the consent page is, below the issuer.
pub const CONSENT: &str = "/consent";

/// A person who is signed in.
#[derive(Clone)]
pub struct Visitor {
    /// The session.
    pub session: Session,
    /// Whose it is.
    pub account: Account,
    /// The cookie's secret, to find the session again within a unit of work.
    pub secret: [u8; 32],
}

/// One request of a browser, with everything that was read for it once.
pub struct Visit<'a> {
    /// The server.
    pub app: &'a App,
    /// The time.
    pub now: UnixSeconds,
    /// What is registered.
    pub registry: Arc<Registry>,
    /// Which browser.
    pub browser: Browser,
    /// Who is signed in there.
    pub visitor: Option<Visitor>,
}

/// Where the consent for a code comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The person said yes just now.
    Given,
    /// It was stored before, or nobody has to be asked.
    Stored,
}

impl<'a> Visit<'a> {
    /// Reads what a request of the browser needs.
    pub async fn of(app: &'a App, request: &HttpRequest) -> Result<Self, PageFault> {
        let now = app.clock.now();
        let registry = app.registry().await?;
        let browser = Browser::of(app, request);
        let visitor = visitor(app, request, now).await?;
        Ok(Self { app, now, registry, browser, visitor })
    }

    /// The request that the address of one of our pages holds (`r`).
    pub fn open(&self, request: &HttpRequest) -> Result<Pending, PageFault> {
        let params =
            Params::parse(request.query_string().as_bytes()).map_err(|_| PageFault::Expired)?;
        params
            .get("r")
            .and_then(|sealed| Pending::open(self.app, sealed, self.now))
            .ok_or(PageFault::Expired)
    }

    /// Gives the browser its cookie, if it is new.
    pub fn finish(&self, answer: Result<HttpResponse, PageFault>) -> HttpResponse {
        let mut response = answer.unwrap_or_else(|fault| page::fault(self.app, &fault));
        if let Some(cookie) = self.browser.cookie(self.app)
            && response.add_cookie(&cookie).is_err()
        {
            log::error!("a cookie could not be written");
        }
        response
    }

    /// Takes the request as far as it goes without the person: to a page that asks something, or to the client.
    pub async fn advance(&self, pending: Pending) -> Result<HttpResponse, PageFault> {
        let request = match self.check(&pending)? {
            Ok(request) => request,
            Err(answer) => return Ok(answer),
        };
        let answer = self.advance_checked(&pending, &request).await;
        match answer {
            // Whoever asked for no page gets none: an invisible frame could not show it.
            Err(PageFault::Store(StoreError::Unavailable(_))) if request.prompt.none => {
                self.refuse(&request, RedirectFault::Unavailable)
            }
            other => other,
        }
    }

    /// The checked request, or the answer that already follows from its faults.
    pub fn check(
        &self,
        pending: &Pending,
    ) -> Result<Result<AuthorizationRequest, HttpResponse>, PageFault> {
        match pending.check(&self.registry) {
            Ok(request) => Ok(Ok(request)),
            Err(AuthorizeError::Show(fault)) => Err(fault.into()),
            Err(AuthorizeError::Redirect { reply_to, fault }) => {
                reply::error(self.app, "the application", &reply_to, fault).map(Err)
            }
        }
    }

    /// Whether the person has to sign in before this request goes on.
    pub fn needs_sign_in(&self, pending: &Pending, request: &AuthorizationRequest) -> bool {
        let signed_in = self.visitor.as_ref().map(Visitor::signed_in);
        let asked_for_another =
            self.visitor.as_ref().is_some_and(|visitor| !self.is_hinted(request, visitor));
        request.needs_sign_in(signed_in.as_ref(), pending.signed_in(), self.now)
            || (asked_for_another && pending.signed_in().is_none())
    }

    async fn advance_checked(
        &self,
        pending: &Pending,
        request: &AuthorizationRequest,
    ) -> Result<HttpResponse, PageFault> {
        let visitor = match &self.visitor {
            Some(visitor) if !self.needs_sign_in(pending, request) => visitor,
            _ if request.prompt.none => return self.refuse(request, RedirectFault::LoginRequired),
            _ => return self.to_page(LOGIN, pending),
        };
        // "If the End-User identified by the ID Token is [..] logged in as a result of the request [..] positive response; otherwise, it
        // MUST return an error" (Core section 3.1.2.1, id_token_hint).
        if !self.is_hinted(request, visitor) {
            return self.refuse(request, RedirectFault::LoginRequired);
        }
        let (account, client_id) = (visitor.account.id, request.client.id().clone());
        let stored =
            self.app.database.read(move |sql| consents::granted(sql, account, &client_id)).await?;
        let (uri, asked) = (&request.reply_to.redirect_uri, request.prompt.consent);
        if !must_ask(&request.client, uri, &request.scope, &stored, asked) {
            return self.issue(pending, request, visitor, Consent::Stored).await;
        }
        if request.prompt.none {
            self.refuse(request, RedirectFault::ConsentRequired)
        } else {
            self.to_page(CONSENT, pending)
        }
    }

    /// Whether the visitor is the person that the request's ID token names. A hint that we cannot read names nobody: without pages
    /// that fits nobody, with pages it is ignored.
    fn is_hinted(&self, request: &AuthorizationRequest, visitor: &Visitor) -> bool {
        let Some(hint) = &request.unverified_id_token_hint else {
            return true;
        };
        let claims = id_token::verify_hint(&self.app.keys, &self.app.settings.issuer, hint);
        match claims.filter(|claims| claims.aud == *request.client.id()) {
            Some(claims) => claims.sub == visitor.account.subject,
            None => !request.prompt.none,
        }
    }

    /// A refusal, to the client.
    pub fn refuse(
        &self,
        request: &AuthorizationRequest,
        fault: RedirectFault,
    ) -> Result<HttpResponse, PageFault> {
        reply::error(self.app, request.client.name(), &request.reply_to, fault)
    }

    /// Where a form of ours goes: the page itself, with the request sealed.
    pub fn form_action(&self, path: &str, pending: &Pending) -> Result<String, PageFault> {
        let sealed = pending.seal(self.app).ok_or(PageFault::Render)?;
        Ok(format!("{}{path}?r={sealed}", self.app.settings.issuer.path()))
    }

    /// A 303 to one of our pages with the sealed request.
    pub fn to_page(&self, path: &str, pending: &Pending) -> Result<HttpResponse, PageFault> {
        let sealed = pending.seal(self.app).ok_or(PageFault::Render)?;
        Ok(reply::see_other(&self.app.settings.issuer.join(&format!("{path}?r={sealed}"))))
    }

    /// Stores the grant and hands out its code, all in one unit of work that reads every parent again: what changed since the page
    /// was shown is seen here. Two of the same request at once give two codes, each good once, for the same client and challenge.
    pub async fn issue(
        &self,
        pending: &Pending,
        request: &AuthorizationRequest,
        visitor: &Visitor,
        consent: Consent,
    ) -> Result<HttpResponse, PageFault> {
        let secret = self.app.random_bytes::<32>();
        let draft = self.draft(request, visitor, consent, &secret);
        match self.app.database.write(move |sql| draft.store(sql)).await? {
            Stored::Code(id) => {
                security_event(
                    "code_issued",
                    &[("client_id", request.client.id()), ("sub", &visitor.account.subject)],
                );
                self.app.metrics.count_event("code_issued");
                let code = opaque::encode(
                    &self.app.vault,
                    OpaqueKind::Code,
                    &Opaque { id, generation: 0, secret },
                );
                reply::code(self.app, request.client.name(), &request.reply_to, &code)
            }
            Stored::ClientGone => Err(ShowFault::ClientUnknown.into()),
            Stored::SignedOut if request.prompt.none => {
                self.refuse(request, RedirectFault::LoginRequired)
            }
            Stored::SignedOut => self.to_page(LOGIN, pending),
            Stored::ConsentMissing if request.prompt.none => {
                self.refuse(request, RedirectFault::ConsentRequired)
            }
            Stored::ConsentMissing => self.to_page(CONSENT, pending),
        }
    }

    fn draft(
        &self,
        request: &AuthorizationRequest,
        visitor: &Visitor,
        consent: Consent,
        secret: &[u8; 32],
    ) -> Draft {
        let lifetimes = &self.app.settings.lifetimes;
        let refreshable = request.client.may_use(GrantType::RefreshToken);
        let code_expires_at = self.now.plus(lifetimes.code);
        // A family lives until its absolute end; without refresh tokens the row has to outlive the last access token and no more.
        let longest = self
            .registry
            .apis()
            .map(|api| api.access_token_lifetime)
            .fold(lifetimes.access_token, i64::max);
        let expires_at = if refreshable {
            self.now.plus(lifetimes.refresh_absolute)
        } else {
            code_expires_at.plus(longest)
        };
        Draft {
            ids: self.app.fresh_ids(),
            request: request.clone(),
            visitor: visitor.clone(),
            consent,
            code_hash: SecretHash::of(secret),
            code_expires_at,
            salt: self.app.random_bytes(),
            refreshable,
            expires_at,
            session_idle: lifetimes.session_idle,
            now: self.now,
        }
    }
}

impl Visitor {
    fn signed_in(&self) -> SignedIn<'_> {
        SignedIn {
            subject: &self.account.subject,
            sid: &self.session.sid,
            auth_time: self.session.auth_time,
        }
    }
}

/// Everything that the unit of work behind a code needs; made before it, so that it can run twice.
struct Draft {
    ids: [RowId; CANDIDATES],
    request: AuthorizationRequest,
    visitor: Visitor,
    consent: Consent,
    code_hash: SecretHash,
    code_expires_at: UnixSeconds,
    salt: [u8; 16],
    refreshable: bool,
    expires_at: UnixSeconds,
    session_idle: i64,
    now: UnixSeconds,
}

/// What became of it.
enum Stored {
    Code(RowId),
    SignedOut,
    ClientGone,
    ConsentMissing,
}

impl Draft {
    fn store(&self, sql: &mut dyn database::Sql) -> Result<Stored, StoreError> {
        let (request, visitor, now) = (&self.request, &self.visitor, self.now);
        let live =
            sessions::find_live(sql, visitor.session.id, &visitor.secret, now, self.session_idle)?;
        let Some((session, account)) = live else {
            return Ok(Stored::SignedOut);
        };
        let Some(client) = clients::find(sql, request.client.id())?.filter(|client| client.enabled)
        else {
            return Ok(Stored::ClientGone);
        };
        let consent_epoch = match self.consent {
            Consent::Given => {
                consents::remember(sql, account.id, client.id(), &request.scope, now)?
            }
            Consent::Stored => {
                let stored = consents::granted(sql, account.id, client.id())?;
                if must_ask(&client, &request.reply_to.redirect_uri, &request.scope, &stored, false)
                {
                    return Ok(Stored::ConsentMissing);
                }
                stored.epoch
            }
        };
        let parties = Parties {
            client_id: client.id().clone(),
            client_epoch: client.epoch,
            account_id: account.id,
            account_epoch: account.epoch,
            session_id: session.id,
            session_epoch: session.epoch,
            consent_epoch,
            subject: account.subject,
            sid: session.sid,
            auth_time: session.auth_time,
            acr: session.acr,
            amr: session.amr,
        };
        match grants::insert(sql, &self.ids, &self.grant(parties))? {
            Some(id) => Ok(Stored::Code(id)),
            None => Err(StoreError::Conflict("no free id for a grant")),
        }
    }

    fn grant(&self, parties: Parties) -> NewGrant {
        let request = &self.request;
        let scope: Scope = request.scope.clone();
        NewGrant {
            code_hash: self.code_hash.clone(),
            code_expires_at: self.code_expires_at,
            redirect_uri: request.reply_to.redirect_uri.clone(),
            redirect_uri_sent: request.redirect_uri_sent,
            code_challenge: request.code_challenge.clone().map(String::from),
            nonce: request.nonce.clone(),
            parties,
            offline: scope.contains("offline_access"),
            scope,
            resources: request.resources.clone(),
            refreshable: self.refreshable,
            salt: self.salt,
            expires_at: self.expires_at,
        }
    }
}

async fn visitor(
    app: &App,
    request: &HttpRequest,
    now: UnixSeconds,
) -> Result<Option<Visitor>, PageFault> {
    let cookie = cookies::value(app, request, cookies::SESSION);
    let Some(token) =
        cookie.and_then(|cookie| opaque::decode(&app.vault, OpaqueKind::Session, &cookie))
    else {
        return Ok(None);
    };
    let (id, secret, idle) = (token.id, token.secret, app.settings.lifetimes.session_idle);
    let Some((session, account)) =
        app.database.read(move |sql| sessions::find_live(sql, id, &secret, now, idle)).await?
    else {
        return Ok(None);
    };
    if session.needs_touch(now)
        && let Err(error) = app.database.write(move |sql| sessions::touch(sql, id, now)).await
    {
        // The session may idle out a little early; that is no reason to turn the person away now.
        log::warn!(error:%; "the use of a session could not be written down");
    }
    Ok(Some(Visitor { session, account, secret }))
}
