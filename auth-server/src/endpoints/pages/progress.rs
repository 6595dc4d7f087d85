//! How an authorization request goes on: sign in, consent, code. Every page of the flow ends here, so the order is written once
//! ([RFC 6749 section 4.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1),
//! [OpenID Connect Core section 3.1.2](https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint)).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use shared_types::UnixSeconds;

use super::cookies::{self, Browser};
use super::issue::Consent;
use super::outage::Outage;
use super::sealed_request::Pending;
use super::{page, reply};
use crate::app::App;
use crate::domain::account::Account;
use crate::domain::authorization_request::{
    AuthorizationRequest, AuthorizeError, RedirectFault, SignedIn,
};
use crate::domain::consent::must_ask;
use crate::domain::registry::Registry;
use crate::domain::row_id::RowId;
use crate::domain::session::Session;
use crate::error::PageFault;
use crate::params::Params;
use crate::store::{StoreError, consents, sessions};
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
    /// The other live sessions that the browser sent; they end with the next sign-in or sign-out. Where they are of several people, one
    /// was planted and nobody can tell which: then all are here, and nobody is signed in.
    pub other_sessions: Vec<RowId>,
}

/// Why a request of the browser goes no further on its way.
#[derive(Debug)]
pub enum Halt {
    /// A page says what is wrong.
    Fault(PageFault),
    /// The answer stands already: the client is told what is wrong.
    Answer(Box<HttpResponse>),
}

impl Halt {
    /// The answer to the browser.
    pub fn answer(self, app: &App) -> HttpResponse {
        match self {
            Self::Fault(fault) => page::fault(app, &fault),
            Self::Answer(answer) => *answer,
        }
    }
}

impl<F: Into<PageFault>> From<F> for Halt {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

impl<'a> Visit<'a> {
    /// Reads what a request of the browser needs.
    pub async fn of(app: &'a App, request: &HttpRequest) -> Result<Self, Outage> {
        let now = app.clock.now();
        let registry = app.registry().await.map_err(Outage::of_registry)?;
        let browser = Browser::of(app, request);
        match visitor(app, request, now).await {
            Ok((visitor, other_sessions)) => {
                Ok(Self { app, now, registry, browser, visitor, other_sessions })
            }
            Err(fault) => Err(Outage::of_sessions(fault, registry)),
        }
    }

    /// The request that the address of one of our pages holds (`r`).
    pub fn open(&self, request: &HttpRequest) -> Result<Pending, PageFault> {
        open(self.app, request, self.now).ok_or(PageFault::Expired)
    }

    /// The answer to a form. A browser that looks new gets no cookie here: a form of another site brings none of ours, and a fresh one would
    /// replace the one that was held back, and so spoil every page that stands open.
    pub fn answer_form(&self, answer: Result<HttpResponse, impl Into<Halt>>) -> HttpResponse {
        answer.unwrap_or_else(|halt| halt.into().answer(self.app))
    }

    /// The answer to a request for a page. Gives the browser its cookie, if it is new.
    pub fn finish(&self, answer: Result<HttpResponse, impl Into<Halt>>) -> HttpResponse {
        let mut response = answer.unwrap_or_else(|halt| halt.into().answer(self.app));
        if let Some(cookie) = self.browser.cookie(self.app)
            && response.add_cookie(&cookie).is_err()
        {
            log::error!("a cookie could not be written");
        }
        response
    }

    /// Takes the request as far as it goes without the person: to a page that asks something, or to the client.
    pub async fn advance(&self, pending: Pending) -> Result<HttpResponse, Halt> {
        let request = self.check(&pending)?;
        let answer = self.advance_checked(&pending, &request).await;
        // Whoever asked for no page gets none: an invisible frame could not show it.
        match answer {
            Err(fault) if request.prompt.none => match fault.for_the_client() {
                Some(told) => {
                    log::error!(error = told.code().as_str(); "{fault}");
                    Ok(self.refuse(&request, told)?)
                }
                None => Err(fault.into()),
            },
            other => Ok(other?),
        }
    }

    /// The checked request; `Err` is what already follows from its faults.
    pub fn check(&self, pending: &Pending) -> Result<AuthorizationRequest, Halt> {
        match pending.check(&self.registry) {
            Ok(request) => Ok(request),
            Err(AuthorizeError::Show(fault)) => {
                reply::write_down(self.app, None, fault.code(), &fault);
                Err(fault.into())
            }
            Err(AuthorizeError::Redirect { client, reply_to, fault }) => {
                let answer = reply::error(self.app, &client, &reply_to, fault)?;
                Err(Halt::Answer(Box::new(answer)))
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
        reply::error(self.app, &request.client, &request.reply_to, fault)
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
}

/// The request that the address of one of our pages holds (`r`), if it is ours and not too old.
pub fn open(app: &App, request: &HttpRequest, now: UnixSeconds) -> Option<Pending> {
    let params = Params::parse(request.query_string().as_bytes()).ok()?;
    params.get("r").and_then(|sealed| Pending::open(app, sealed, now))
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

/// Whose session the browser sent. Of several that are the same person's, the latest sign-in counts; for those of several people see
/// [`Visit::other_sessions`]. One that is not live, planted or left behind, takes nothing from one that is.
async fn visitor(
    app: &App,
    request: &HttpRequest,
    now: UnixSeconds,
) -> Result<(Option<Visitor>, Vec<RowId>), PageFault> {
    let tokens: Vec<Opaque> = cookies::values(app, request, cookies::SESSION)
        .iter()
        .filter_map(|cookie| opaque::decode(&app.vault, OpaqueKind::Session, cookie))
        .collect();
    if tokens.is_empty() {
        return Ok((None, Vec::new()));
    }
    let idle = app.settings.lifetimes.session_idle;
    let live = app.database.read(move |sql| find_live(sql, &tokens, now, idle)).await?;
    let mut ids: Vec<RowId> = live.iter().map(|visitor| visitor.session.id).collect();
    let Some(visitor) = live.iter().max_by_key(|visitor| visitor.session.auth_time) else {
        return Ok((None, ids));
    };
    if live.iter().any(|other| other.account.id != visitor.account.id) {
        log::warn!("a browser sent live sessions of several people: none of them counts");
        return Ok((None, ids));
    }
    let id = visitor.session.id;
    ids.retain(|other| *other != id);
    if visitor.session.needs_touch(now)
        && let Err(error) = app.database.write(move |sql| sessions::touch(sql, id, now)).await
    {
        // The session may idle out a little early; that is no reason to turn the person away now.
        log::warn!(error:%; "the use of a session could not be written down");
    }
    Ok((Some(visitor.clone()), ids))
}

fn find_live(
    sql: &mut dyn database::Sql,
    tokens: &[Opaque],
    now: UnixSeconds,
    idle: i64,
) -> Result<Vec<Visitor>, StoreError> {
    let mut live = Vec::new();
    for Opaque { id, secret, .. } in tokens {
        if let Some((session, account)) = sessions::find_live(sql, *id, secret, now, idle)? {
            live.push(Visitor { session, account, secret: *secret });
        }
    }
    Ok(live)
}
