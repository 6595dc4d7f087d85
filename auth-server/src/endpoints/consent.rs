//! `/consent`: the person decides what a client may do ([OpenID Connect Core section 3.1.2.4](https://openid.net/specs/openid-connect-core-1_0.html#Consent),
//! [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)).

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::{Scope, ScopeToken};
use url::Url;

use super::pages::csrf;
use super::pages::issue::Consent;
use super::pages::page::{self, ClientInfo, ConsentPage, ScopeLine};
use super::pages::progress::{self, Halt, Visit, Visitor};
use super::pages::sealed_request::Pending;
use crate::app::App;
use crate::domain::audience::issuer_scope;
use crate::domain::authorization_request::{AuthorizationRequest, RedirectFault, describe_scope};
use crate::domain::consent::must_ask;
use crate::domain::secret::constant_time_eq;
use crate::error::PageFault;
use crate::log_format::security_event;
use crate::params::{Form, Params, ParamsFault};
use crate::store::consents;

/// Where it is, below the issuer.
pub const PATH: &str = progress::CONSENT;

/// The form field that says which question is answered.
const QUESTION: &str = "question";

/// Shows the question, or goes on when it need not be asked any more.
pub async fn get(app: Data<App>, request: HttpRequest) -> HttpResponse {
    match Visit::of(&app, &request).await {
        Ok(visit) => visit.finish(show(&visit, &request).await),
        Err(outage) => {
            outage.answer(&app, progress::open(&app, &request, app.clock.now()).as_ref())
        }
    }
}

async fn show(visit: &Visit<'_>, request: &HttpRequest) -> Result<HttpResponse, Halt> {
    let pending = visit.open(request)?;
    if !pending.is_of(visit.app, &visit.browser) {
        return visit.advance(pending.begin_again(visit.app, &visit.browser)).await;
    }
    let wanted = visit.check(&pending)?;
    let Some(visitor) = visit
        .visitor
        .as_ref()
        .filter(|_| !wanted.prompt.none && !visit.needs_sign_in(&pending, &wanted))
    else {
        return visit.advance(pending).await;
    };
    let (account, client_id) = (visitor.account.id, wanted.client.id().clone());
    let stored =
        visit.app.database.read(move |sql| consents::granted(sql, account, &client_id)).await?;
    if !must_ask(
        &wanted.client,
        &wanted.reply_to.redirect_uri,
        &wanted.scope,
        &stored,
        wanted.prompt.consent,
    ) {
        return visit.advance(pending).await;
    }
    Ok(consent_page(visit, &pending, &wanted, visitor)?)
}

/// Takes the answer.
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
    let pending = visit.open(request)?;
    let Some(visitor) = &visit.visitor else {
        // The session ended while the page stood open: nothing was decided.
        return visit.advance(pending.begin_again(visit.app, &visit.browser)).await;
    };
    csrf::check(visit.app, request, &visit.browser, &form_name(visitor), &params)?;
    let wanted = visit.check(&pending)?;
    if !pending.is_of(visit.app, &visit.browser) || visit.needs_sign_in(&pending, &wanted) {
        return visit.advance(pending.begin_again(visit.app, &visit.browser)).await;
    }
    let allowed = match params.get("decision") {
        Some("allow") if is_answer_to(visit, &params, &wanted) => true,
        Some("deny") => false,
        // No decision, or one about something else than what would be stored now.
        _ => return Ok(consent_page(visit, &pending, &wanted, visitor)?),
    };
    let outcome = if allowed { "allowed" } else { "denied" };
    security_event(
        "consent",
        &[
            ("outcome", &outcome),
            ("client_id", wanted.client.id()),
            ("sub", &visitor.account.subject),
            ("scope", &wanted.scope),
        ],
    );
    visit.app.metrics.count_event("consent");
    if allowed {
        Ok(visit.issue(&pending, &wanted, visitor, Consent::Given).await?)
    } else {
        Ok(visit.refuse(&wanted, RedirectFault::Denied)?)
    }
}

/// The token holds for this session only: if another person signs in meanwhile, an open page cannot answer in their name.
fn form_name(visitor: &Visitor) -> String {
    format!("consent\n{}\n{}", visitor.session.sid, visitor.account.subject)
}

/// What the person is asked, as the form carries it: who gets what, and where the answer goes. It is all read anew when the answer comes, and
/// what is registered may have changed meanwhile: then a yes to the old question is none to the new one.
fn question(visit: &Visit<'_>, wanted: &AuthorizationRequest) -> String {
    let (client, uri, scope) = (wanted.client.id(), &wanted.reply_to.redirect_uri, &wanted.scope);
    let asked = format!("{client}\n{uri}\n{scope}");
    URL_SAFE_NO_PAD.encode(visit.app.vault.mac("consent question", asked.as_bytes()))
}

fn is_answer_to(visit: &Visit<'_>, params: &Params, wanted: &AuthorizationRequest) -> bool {
    let sent = params.get(QUESTION).unwrap_or_default();
    constant_time_eq(sent.as_bytes(), question(visit, wanted).as_bytes())
}

fn consent_page(
    visit: &Visit<'_>,
    pending: &Pending,
    wanted: &AuthorizationRequest,
    visitor: &Visitor,
) -> Result<HttpResponse, PageFault> {
    let line = |token| ScopeLine {
        sentence: describe_scope(&visit.registry, token),
        token: token.to_string(),
    };
    let page = ConsentPage {
        action: visit.form_action(PATH, pending)?,
        csrf: csrf::token(visit.app, &visit.browser, &form_name(visitor)),
        question: question(visit, wanted),
        client: ClientInfo::of(&wanted.client),
        scopes: in_reading_order(&wanted.scope).map(line).collect(),
        username: &visitor.account.username,
        destination: destination(&wanted.reply_to.redirect_uri),
    };
    page::show(StatusCode::OK, &page, Some(&wanted.reply_to.redirect_uri))
}

/// Who the person is comes first, what the client may do with APIs next, and how long last.
fn in_reading_order(scope: &Scope) -> impl Iterator<Item = &ScopeToken> {
    let about_the_person = issuer_scope().without("offline_access");
    let rank = move |token: &ScopeToken| match token.as_str() {
        "openid" => 0,
        "offline_access" => 3,
        other if about_the_person.contains(other) => 1,
        _ => 2,
    };
    let mut tokens: Vec<_> = scope.iter().collect();
    tokens.sort_by_key(|token| rank(token));
    tokens.into_iter()
}

/// Where the answer goes, in words.
fn destination(redirect_uri: &str) -> String {
    let url = Url::parse(redirect_uri).ok();
    match url.as_ref().map(|url| (url.scheme(), url.host_str())) {
        Some(("https", Some(host))) => host.to_owned(),
        Some(("http", _)) => "an application on this device".to_owned(),
        Some((scheme, _)) => format!("the application {scheme} on this device"),
        None => redirect_uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_listed_from_who_to_what_to_how_long() {
        let scope = Scope::parse("documents:read email offline_access openid profile").unwrap();
        let listed: Vec<_> = in_reading_order(&scope).map(ScopeToken::as_str).collect();
        assert_eq!(listed, ["openid", "email", "profile", "documents:read", "offline_access"]);
    }

    #[test]
    fn a_person_reads_where_the_answer_goes() {
        assert_eq!(destination("https://app.example:8443/cb"), "app.example");
        assert_eq!(destination("http://127.0.0.1:9002/callback"), "an application on this device");
        assert_eq!(
            destination("com.example.app:/cb"),
            "the application com.example.app on this device"
        );
    }
}
