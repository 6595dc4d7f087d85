//! `/end_session`: signing out ([OpenID Connect RP-Initiated Logout](https://openid.net/specs/openid-connect-rpinitiated-1_0.html)).
//!
//! A hint that we signed, for the client that shows it and the session of this very browser, ends the session at once; anything else is
//! asked. The browser goes to no address that a valid hint's client has not registered. Other clients are not told yet.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use shared_types::{ClientId, UnixSeconds};

use super::pages::page::{self, LogoutPage, NoticePage};
use super::pages::progress::{Visit, Visitor};
use super::pages::{cookies, csrf, reply};
use crate::app::App;
use crate::domain::row_id::RowId;
use crate::error::PageFault;
use crate::log_format::security_event;
use crate::params::{Form, Params};
use crate::store::{StoreError, sessions};
use crate::tokens::id_token;

/// Where it is, below the issuer.
pub const PATH: &str = "/end_session";

/// Where it ends when no client is waiting.
const LOGGED_OUT: &str = "/logged-out";
const PURPOSE: &str = "logout request";
/// Name of the form, for its CSRF token.
const FORM: &str = "logout";

/// A checked request, as it travels sealed through our own page.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Logout {
    /// The session that a valid hint names.
    sid: Option<String>,
    /// The client that a valid hint is for.
    client_id: Option<ClientId>,
    /// Where the browser goes afterwards; only with a valid hint, and complete with `state`.
    return_to: Option<String>,
    /// From this second on it is void.
    expires_at: UnixSeconds,
}

/// The request in the query.
pub async fn get(app: Data<App>, request: HttpRequest) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.finish(begin(&visit, &request).await),
        Err(outage) => outage.page(&app),
    }
}

async fn begin(visit: &Visit<'_>, request: &HttpRequest) -> Result<HttpResponse, PageFault> {
    let params = Params::parse(request.query_string().as_bytes())?;
    let logout = match params.get("r") {
        Some(sealed) => Logout::open(visit, sealed)?,
        None => Logout::from_params(visit, &params),
    };
    match &visit.visitor {
        None => forget(visit, &logout).await,
        Some(visitor) if logout.sid.as_deref() == Some(&visitor.session.sid) => {
            end(visit, visitor, &logout).await
        }
        Some(visitor) => ask(visit, visitor, &logout),
    }
}

/// The request in a client's form, or the answer from our own page.
pub async fn post(app: Data<App>, request: HttpRequest, Form(sent): Form) -> HttpResponse {
    let visit = match Visit::of(&app, &request).await {
        Ok(visit) => visit,
        Err(outage) => return outage.page(&app),
    };
    match sent {
        Ok(params) if params.get(csrf::FIELD).is_some() => {
            visit.answer_form(answer(&visit, &request, &params).await)
        }
        // Another site's form brings no cookie of ours: it goes on by GET.
        Ok(params) => visit.answer_form(keep(&visit, &params)),
        Err(fault) => page::fault(&app, &fault.into()),
    }
}

fn keep(visit: &Visit<'_>, params: &Params) -> Result<HttpResponse, PageFault> {
    let sealed = Logout::from_params(visit, params).seal(visit.app)?;
    Ok(reply::see_other(&visit.app.settings.issuer.join(&format!("{PATH}?r={sealed}"))))
}

async fn answer(
    visit: &Visit<'_>,
    request: &HttpRequest,
    params: &Params,
) -> Result<HttpResponse, PageFault> {
    csrf::check(visit.app, request, &visit.browser, FORM, params)?;
    let logout = Logout::open(visit, params.get("request").unwrap_or_default())?;
    match (&visit.visitor, params.get("action")) {
        (None, _) => forget(visit, &logout).await,
        (Some(visitor), Some("confirm")) => end(visit, visitor, &logout).await,
        (Some(_), _) => page::show(StatusCode::OK, &STAYED, None),
    }
}

const STAYED: NoticePage = NoticePage {
    id: "still-signed-in",
    title: "You are still signed in",
    text: "Nothing was changed. You can close this page.",
};

async fn end(
    visit: &Visit<'_>,
    visitor: &Visitor,
    logout: &Logout,
) -> Result<HttpResponse, PageFault> {
    let (id, others, now) = (visitor.session.id, visit.other_sessions.clone(), visit.now);
    let ended = visit.app.database.write(move |sql| {
        end_all(sql, &others, now)?;
        sessions::end(sql, id, now)
    });
    if ended.await? {
        security_event("signed_out", &[("sub", &visitor.account.subject)]);
        visit.app.metrics.count_event("signed_out");
    }
    let mut response = logout.leave(visit.app);
    response.add_cookie(&cookies::no_session(visit.app)).map_err(|_| PageFault::Render)?;
    Ok(response)
}

/// Nobody is signed in as far as we can tell. Where that is because a session was planted beside the person's own, both end: whoever
/// asked to be signed out must not be signed in again when the planted one is gone.
async fn forget(visit: &Visit<'_>, logout: &Logout) -> Result<HttpResponse, PageFault> {
    let mut response = logout.leave(visit.app);
    if !visit.other_sessions.is_empty() {
        let (ids, now) = (visit.other_sessions.clone(), visit.now);
        visit.app.database.write(move |sql| end_all(sql, &ids, now)).await?;
        response.add_cookie(&cookies::no_session(visit.app)).map_err(|_| PageFault::Render)?;
    }
    Ok(response)
}

fn end_all(sql: &mut dyn database::Sql, ids: &[RowId], now: UnixSeconds) -> Result<(), StoreError> {
    ids.iter().try_for_each(|id| sessions::end(sql, *id, now).map(drop))
}

fn ask(visit: &Visit<'_>, visitor: &Visitor, logout: &Logout) -> Result<HttpResponse, PageFault> {
    let client = logout.client_id.as_ref().and_then(|id| visit.registry.client(id));
    let page = LogoutPage {
        action: format!("{}{PATH}", visit.app.settings.issuer.path()),
        csrf: csrf::token(visit.app, &visit.browser, FORM),
        request: logout.seal(visit.app)?,
        username: &visitor.account.username,
        client_name: client.map(|client| client.name()),
    };
    page::show(StatusCode::OK, &page, logout.return_to.as_deref())
}

impl Logout {
    /// "The OP [..] MUST NOT perform post-logout redirection if the `post_logout_redirect_uri` value supplied does not exactly match one of
    /// the previously registered" ones (section 3); and without a valid hint nobody knows whose they would be.
    fn from_params(visit: &Visit<'_>, params: &Params) -> Self {
        let expires_at = visit.now.plus(visit.app.settings.lifetimes.sign_in_request);
        let hint = params.get("id_token_hint").and_then(|hint| {
            id_token::verify_hint(&visit.app.keys, &visit.app.settings.issuer, hint)
        });
        // "When both client_id and id_token_hint are present, the OP MUST verify that the Client Identifier matches" (section 2).
        let hint = hint
            .filter(|claims| params.get("client_id").is_none_or(|id| id == claims.aud.as_str()));
        let Some(claims) = hint else {
            return Self { expires_at, ..Self::default() };
        };
        let registered = visit
            .registry
            .client(&claims.aud)
            .map(|client| client.metadata.post_logout_redirect_uris.as_slice());
        let wanted = params.get("post_logout_redirect_uri");
        let uri = wanted.filter(|uri| {
            registered.unwrap_or_default().iter().any(|registered| registered == uri)
        });
        let state: Vec<_> = params.get("state").map(|state| ("state", state)).into_iter().collect();
        Self {
            sid: claims.sid,
            client_id: Some(claims.aud),
            return_to: uri.map(|uri| reply::with_query(uri, &state)),
            expires_at,
        }
    }

    fn open(visit: &Visit<'_>, sealed: &str) -> Result<Self, PageFault> {
        let bytes = visit.app.vault.unseal(PURPOSE, b"", sealed).ok_or(PageFault::Expired)?;
        let logout: Self = serde_json::from_slice(&bytes).map_err(|_| PageFault::Expired)?;
        if visit.now.has_reached(logout.expires_at) { Err(PageFault::Expired) } else { Ok(logout) }
    }

    fn seal(&self, app: &App) -> Result<String, PageFault> {
        let bytes = serde_json::to_vec(self).map_err(|_| PageFault::Render)?;
        Ok(app.vault.seal(PURPOSE, b"", &bytes, &*app.random))
    }

    /// Off to the client, or to our own last page.
    fn leave(&self, app: &App) -> HttpResponse {
        match &self.return_to {
            Some(uri) => reply::see_other(uri),
            None => reply::see_other(&app.settings.issuer.join(LOGGED_OUT)),
        }
    }
}
