//! `/authorize`: a client asks for a code ([RFC 6749 section 4.1.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1),
//! [OpenID Connect Core section 3.1.2](https://openid.net/specs/openid-connect-core-1_0.html#AuthorizationEndpoint)).
//!
//! It shows no form itself: it checks, and sends the browser to `/login`, `/consent` or back. Request objects are not taken.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use shared_types::ErrorCode;

use super::pages::cookies::Browser;
use super::pages::progress::{Halt, LOGIN, Visit};
use super::pages::reply;
use super::pages::sealed_request::Pending;
use crate::app::App;
use crate::error::PageFault;
use crate::params::{Form, Params, ParamsFault};

/// Where it is, below the issuer.
pub const PATH: &str = "/authorize";

/// The request in the query: it goes on at once.
pub async fn get(app: Data<App>, request: HttpRequest) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.finish(begin(&visit, &request).await),
        Err(outage) => {
            let params = Params::parse(request.query_string().as_bytes()).ok();
            outage.answer(&app, params.map(|params| pending(&app, &request, &params)).as_ref())
        }
    }
}

/// The request as it arrived, where no visit could begin.
fn pending(app: &App, request: &HttpRequest, params: &Params) -> Pending {
    Pending::new(app, params, &Browser::of(app, request), app.clock.now())
}

async fn begin(visit: &Visit<'_>, request: &HttpRequest) -> Result<HttpResponse, Halt> {
    // "Request and response parameters MUST NOT be included more than once" (RFC 6749 section 3.1). Of two nobody knows which one a
    // proxy or the client meant, so not even the redirect URI can be believed.
    let params = Params::parse(request.query_string().as_bytes());
    let params = params.map_err(|fault| unreadable(visit.app, fault))?;
    visit.advance(Pending::new(visit.app, &params, &visit.browser, visit.now)).await
}

/// The request in a form: "Authorization Servers MUST support the use of the HTTP GET and POST methods"
/// ([Core section 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
///
/// The form comes from another site, so the browser sends no `SameSite=Lax` cookie with it. The request is checked, sealed and goes
/// on by GET. No cookie is set: it would replace the one that the browser has and did not send.
pub async fn post(app: Data<App>, request: HttpRequest, Form(sent): Form) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.answer_form(keep(&visit, sent)),
        Err(outage) => {
            outage.answer(&app, sent.ok().map(|params| pending(&app, &request, &params)).as_ref())
        }
    }
}

fn keep(visit: &Visit<'_>, sent: Result<Params, ParamsFault>) -> Result<HttpResponse, Halt> {
    let params = sent.map_err(|fault| unreadable(visit.app, fault))?;
    let pending = Pending::new(visit.app, &params, &visit.browser, visit.now);
    visit.check(&pending)?;
    Ok(visit.to_page(LOGIN, &pending)?)
}

fn unreadable(app: &App, fault: ParamsFault) -> PageFault {
    reply::write_down(app, None, ErrorCode::InvalidRequest, &fault);
    fault.into()
}
