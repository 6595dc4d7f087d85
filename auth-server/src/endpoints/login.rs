//! `/login`: the person proves who they are ([OpenID Connect Core section 3.1.2.3](https://openid.net/specs/openid-connect-core-1_0.html#Authenticates),
//! [RFC 6749 section 3.1](https://www.rfc-editor.org/rfc/rfc6749#section-3.1): how is "beyond the scope" there).
//!
//! The page says the same, with the same status and after the same work, whether the name is unknown, the password wrong or the account
//! disabled.

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, RETRY_AFTER};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use shared_types::UnixSeconds;

use super::pages::cookies::{self, KnownAccounts};
use super::pages::csrf;
use super::pages::page::{self, ClientInfo, LoginPage};
use super::pages::progress::{self, Halt, Visit, Visitor};
use super::pages::sealed_request::Pending;
use crate::app::App;
use crate::domain::account::Account;
use crate::domain::authorization_request::{AuthorizationRequest, RedirectFault};
use crate::domain::password::{Place, Standing};
use crate::domain::row_id::{CANDIDATES, RowId};
use crate::domain::secret::{PlainSecret, SecretHash};
use crate::domain::session::{NewSession, generate_sid};
use crate::domain::throttle::{self, Admission, Bucket};
use crate::error::{PageFault, SignInRefusal};
use crate::log_format::security_event;
use crate::params::{Form, Params, ParamsFault, client_address};
use crate::store::{self, StoreError, accounts, sessions};
use crate::tokens::opaque::{self, Opaque, OpaqueKind};

/// Where it is, below the issuer.
pub const PATH: &str = progress::LOGIN;

/// Name of the form, for its CSRF token.
const FORM: &str = "login";
/// How well a password authenticates: no level of assurance that anybody else defined.
const ACR: &str = "1";
/// A password ([RFC 8176 section 2](https://www.rfc-editor.org/rfc/rfc8176#section-2)).
const AMR: &str = "pwd";

/// Shows the form, or goes on when nobody has to sign in any more, for example after another tab did.
pub async fn get(app: Data<App>, request: HttpRequest) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.finish(show(&visit, &request).await),
        Err(outage) => {
            outage.answer(&app, progress::open(&app, &request, app.clock.now()).as_ref())
        }
    }
}

async fn show(visit: &Visit<'_>, request: &HttpRequest) -> Result<HttpResponse, Halt> {
    let mut pending = visit.open(request)?;
    if !pending.is_of(visit.app, &visit.browser) {
        pending = pending.begin_again(visit.app, &visit.browser);
    }
    let wanted = visit.check(&pending)?;
    if wanted.prompt.none || !visit.needs_sign_in(&pending, &wanted) {
        return visit.advance(pending).await;
    }
    let signed_in = visit.visitor.as_ref().map(|visitor| visitor.account.username.as_str());
    let username = wanted.login_hint.as_deref().or(signed_in).unwrap_or_default();
    Ok(login_page(visit, &pending, &wanted, username, None)?)
}

/// Takes the form.
pub async fn post(app: Data<App>, request: HttpRequest, Form(sent): Form) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.answer_form(take(&visit, &request, sent).await),
        Err(outage) => {
            outage.answer(&app, progress::open(&app, &request, app.clock.now()).as_ref())
        }
    }
}

async fn take(
    visit: &Visit<'_>,
    request: &HttpRequest,
    sent: Result<Params, ParamsFault>,
) -> Result<HttpResponse, Halt> {
    let params = sent?;
    csrf::check(visit.app, request, &visit.browser, FORM, &params)?;
    let pending = visit.open(request)?;
    if !pending.is_of(visit.app, &visit.browser) {
        return Ok(visit.to_page(PATH, &pending.begin_again(visit.app, &visit.browser))?);
    }
    let wanted = visit.check(&pending)?;
    if params.get("action") == Some("cancel") {
        return Ok(visit.refuse(&wanted, RedirectFault::Denied)?);
    }
    match sign_in(visit, request, &params).await? {
        Attempt::SignedIn(visitor, cookies) => {
            let pending = pending.after_sign_in(&visitor.session.sid);
            let visit = Visit {
                visitor: Some(*visitor),
                registry: visit.registry.clone(),
                browser: visit.browser.clone(),
                other_sessions: Vec::new(),
                ..*visit
            };
            let mut response =
                visit.advance(pending).await.unwrap_or_else(|halt| halt.answer(visit.app));
            for cookie in &cookies {
                response.add_cookie(cookie).map_err(|_| PageFault::Render)?;
            }
            Ok(response)
        }
        Attempt::Refused(refusal) => {
            let username = params.get("username").unwrap_or_default();
            Ok(login_page(visit, &pending, &wanted, username, Some(refusal))?)
        }
    }
}

fn login_page(
    visit: &Visit<'_>,
    pending: &Pending,
    wanted: &AuthorizationRequest,
    username: &str,
    refusal: Option<SignInRefusal>,
) -> Result<HttpResponse, PageFault> {
    let page = LoginPage {
        action: visit.form_action(PATH, pending)?,
        csrf: csrf::token(visit.app, &visit.browser, FORM),
        client: ClientInfo::of(&wanted.client),
        username,
        signed_in_as: visit.visitor.as_ref().map(|visitor| visitor.account.username.as_str()),
        refusal,
    };
    let status = refusal.map_or(StatusCode::OK, SignInRefusal::status);
    let mut response = page::show(status, &page, Some(&wanted.reply_to.redirect_uri))?;
    if let Some(SignInRefusal::Throttled(seconds)) = refusal {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// What became of an attempt.
enum Attempt {
    SignedIn(Box<Visitor>, Vec<Cookie<'static>>),
    Refused(SignInRefusal),
}

async fn sign_in(
    visit: &Visit<'_>,
    request: &HttpRequest,
    params: &Params,
) -> Result<Attempt, PageFault> {
    let (app, now) = (visit.app, visit.now);
    let (Some(username), Some(password)) = (params.get("username"), params.get("password")) else {
        return Ok(Attempt::Refused(SignInRefusal::Incomplete));
    };
    let name = username.to_owned();
    let account = app.database.read(move |sql| accounts::find_by_username(sql, &name)).await?;
    let known = KnownAccounts::of(app, request);
    let known_here = account.as_ref().and_then(|account| known.knows(app, account, now));
    let standing = match (&account, known_here) {
        (Some(account), Some(_)) => Standing::Known(account.id),
        _ => Standing::Unknown,
    };
    let buckets = throttle::sign_in(username, known_here, client_address(request));
    let place = match admit(app, standing, &buckets, now).await? {
        Admitted::Go(place) => place,
        Admitted::Wait(seconds) => {
            record(app, "throttled", request, account.as_ref());
            return Ok(Attempt::Refused(SignInRefusal::Throttled(seconds)));
        }
    };
    let attempt = decide(visit, request, account, (place, PlainSecret::new(password)), &buckets);
    let Some(visitor) = attempt.await? else {
        return Ok(Attempt::Refused(SignInRefusal::Mismatch));
    };
    record(app, "success", request, Some(&visitor.account));
    let token = Opaque { id: visitor.session.id, generation: 0, secret: visitor.secret };
    let token = opaque::encode(&app.vault, OpaqueKind::Session, &token);
    let cookies = vec![
        cookies::session(app, token.expose().to_owned()),
        known.remembering(app, &visitor.account, now),
    ];
    Ok(Attempt::SignedIn(Box::new(visitor), cookies))
}

enum Admitted {
    /// The attempt is counted, and this is its place in line.
    Go(Place),
    /// Seconds until the next one.
    Wait(i64),
}

/// Counted before any hash, so that a flood of guesses costs the guesser and not us. But not before the attempt has its place in line:
/// where there is none, nothing was decided about the password, and a flood that fills the line must not use up anybody's attempts.
async fn admit(
    app: &App,
    standing: Standing,
    buckets: &[Bucket],
    now: UnixSeconds,
) -> Result<Admitted, PageFault> {
    let full = buckets.to_vec();
    // Whoever has to wait anyway takes no place and no turn of the writer.
    let seen = app.database.read(move |sql| store::throttle::look(sql, &full, now)).await?;
    if let Admission::Wait(seconds) = seen {
        return Ok(Admitted::Wait(seconds));
    }
    let place = app.passwords.place(standing)?;
    let buckets = buckets.to_vec();
    match app.database.write(move |sql| store::throttle::admit(sql, &buckets, now)).await? {
        Admission::Go => Ok(Admitted::Go(place)),
        Admission::Wait(seconds) => Ok(Admitted::Wait(seconds)),
    }
}

/// Checks the password and begins the session. A fault of ours decides nothing, so the attempt is not counted then.
async fn decide(
    visit: &Visit<'_>,
    request: &HttpRequest,
    account: Option<Account>,
    (place, password): (Place, PlainSecret),
    buckets: &[Bucket],
) -> Result<Option<Visitor>, PageFault> {
    let attempt = async {
        match verify(visit.app, account, place, password, request).await? {
            Some(account) => {
                let entered = enter(visit, &account, buckets.to_vec()).await?;
                if entered.is_none() {
                    record(visit.app, "failed", request, Some(&account));
                }
                Ok(entered)
            }
            None => Ok(None),
        }
    };
    let outcome = attempt.await;
    if outcome.is_err() {
        let (buckets, now) = (buckets.to_vec(), visit.now);
        let forgiven =
            visit.app.database.write(move |sql| store::throttle::forgive(sql, &buckets, now)).await;
        if let Err(error) = forgiven {
            log::warn!(error:%; "a sign-in that failed by our own fault stays counted");
        }
    }
    outcome
}

/// The account, if the password is its own and it is enabled. An unknown name costs the same hash.
async fn verify(
    app: &App,
    account: Option<Account>,
    place: Place,
    password: PlainSecret,
    request: &HttpRequest,
) -> Result<Option<Account>, PageFault> {
    let stored = account.as_ref().and_then(|account| account.password_hash.clone());
    let matches = app.passwords.verify(place, stored.clone(), password.clone()).await?;
    let account = match account {
        Some(account) if matches && account.enabled => account,
        other => {
            record(app, "failed", request, other.as_ref());
            return Ok(None);
        }
    };
    if let Some(old) = stored.filter(|stored| app.passwords.needs_rehash(stored)) {
        renew_hash(app, account.id, old, password).await;
    }
    Ok(Some(account))
}

/// Stores the password under today's cost. That can wait for the next sign-in: it is no reason to refuse this one.
async fn renew_hash(app: &App, id: RowId, old: String, password: PlainSecret) {
    let new = match app.passwords.hash(password, app.random_bytes()).await {
        Ok(new) => new,
        Err(error) => return log::warn!(error:%; "a password was not hashed again"),
    };
    let stored = app.database.write(move |sql| accounts::rehash(sql, id, &old, &new)).await;
    if let Err(error) = stored {
        log::warn!(error:%; "a new password hash was not stored");
    }
}

/// Begins the session: the same person's goes on under a new cookie, other people's end. `None`: the account changed meanwhile.
async fn enter(
    visit: &Visit<'_>,
    account: &Account,
    buckets: Vec<Bucket>,
) -> Result<Option<Visitor>, PageFault> {
    let (app, now) = (visit.app, visit.now);
    let secret = app.random_bytes::<32>();
    let new = NewSession {
        secret_hash: SecretHash::of(&secret),
        sid: generate_sid(&*app.random),
        account_id: account.id,
        account_epoch: account.epoch,
        auth_time: now,
        acr: ACR.into(),
        amr: vec![AMR.into()],
        expires_at: now.plus(app.settings.lifetimes.session_absolute),
    };
    let (ids, idle) = (app.fresh_ids(), app.settings.lifetimes.session_idle);
    let visitor = visit.visitor.as_ref().map(|visitor| visitor.session.id);
    let old: Vec<RowId> = visitor.into_iter().chain(visit.other_sessions.iter().copied()).collect();
    let found = app
        .database
        .write(move |sql| {
            store::throttle::forgive(sql, &buckets, now)?;
            let Some(id) = begin_session(sql, &ids, &old, &new, now)? else {
                return Ok(None);
            };
            sessions::find_live(sql, id, &secret, now, idle)
        })
        .await?;
    Ok(found.map(|(session, account)| Visitor { session, account, secret }))
}

fn begin_session(
    sql: &mut dyn database::Sql,
    ids: &[RowId; CANDIDATES],
    old: &[RowId],
    new: &NewSession,
    now: UnixSeconds,
) -> Result<Option<RowId>, StoreError> {
    let mut renewed = None;
    for old in old {
        if renewed.is_none() && sessions::renew(sql, *old, new)? {
            renewed = Some(*old);
        } else {
            sessions::end(sql, *old, now)?;
        }
    }
    match renewed {
        Some(id) => Ok(Some(id)),
        None => sessions::insert(sql, ids, new),
    }
}

/// The security log and the counters. A name that was typed is not written down: it may be a password in the wrong field.
fn record(app: &App, outcome: &'static str, request: &HttpRequest, account: Option<&Account>) {
    app.metrics.count_sign_in(outcome);
    let address = client_address(request);
    let event = if outcome == "success" { "sign_in" } else { "sign_in_failed" };
    app.metrics.count_event(event);
    match account {
        Some(account) => security_event(
            event,
            &[("outcome", &outcome), ("sub", &account.subject), ("client", &address)],
        ),
        None => security_event(event, &[("outcome", &outcome), ("client", &address)]),
    }
}
