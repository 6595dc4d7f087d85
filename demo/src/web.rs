//! The web client: a person clicks through the flow that the walk has told.
//!
//! Tokens stay in this process; the browser holds a cookie that means nothing elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use askama::Template as _;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::oauth::{self, Client, Pending, Tokens};
use crate::servers::Plan;
use crate::story;
use crate::walk::Api;

const COOKIE: &str = "demo_session";
/// More sessions than a tour needs; beyond it the map is emptied, since it lives in memory.
const MOST_SESSIONS: usize = 1_000;

struct State {
    client: Client,
    api: Api,
    base: String,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Clone)]
enum Session {
    Away(Pending),
    SignedIn(Box<SignedIn>),
}

#[derive(Clone)]
struct SignedIn {
    tokens: Tokens,
    id_token: String,
    name: String,
    subject: String,
    csrf: String,
}

#[derive(askama::Template)]
#[template(path = "index.html")]
struct Index<'a> {
    issuer: &'a str,
    notice: Option<String>,
    person: Option<Person>,
}

struct Person {
    name: String,
    subject: String,
    scope: String,
    documents: Vec<String>,
    csrf: String,
}

/// Serves until Ctrl-C.
pub async fn serve(plan: &Plan, client: Client) -> anyhow::Result<()> {
    let state = web::Data::new(State {
        client,
        api: Api::new(&plan.resource)?,
        base: plan.client.clone(),
        sessions: Mutex::default(),
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .route("/", web::get().to(index))
            .route("/sign-in", web::get().to(sign_in))
            .route("/callback", web::get().to(callback))
            .route("/documents", web::post().to(create))
            .route("/refresh", web::post().to(refresh))
            .route("/sign-out", web::post().to(sign_out))
    })
    .workers(1)
    .bind(("127.0.0.1", plan.client_port))?;
    story::line("");
    story::line(&format!("Now click through it yourself: {}", plan.client));
    story::line(&format!("   user name alice, password {}", plan.password));
    story::line("   Ctrl-C stops everything.");
    Ok(server.run().await?)
}

impl State {
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, request: &HttpRequest) -> Option<(String, Session)> {
        let id = request.cookie(COOKIE)?.value().to_owned();
        let session = self.sessions().get(&id).cloned()?;
        Some((id, session))
    }

    /// The signed-in session, if the form carries its token: another site can make a browser send forms, but cannot read ours.
    fn authorised(&self, request: &HttpRequest, csrf: &str) -> Option<(String, SignedIn)> {
        match self.session(request)? {
            (id, Session::SignedIn(session)) if session.csrf == csrf => Some((id, *session)),
            _ => None,
        }
    }

    fn keep(&self, id: String, session: Session) {
        let mut sessions = self.sessions();
        if sessions.len() >= MOST_SESSIONS {
            sessions.clear();
        }
        sessions.insert(id, session);
    }
}

async fn index(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let Some((_, Session::SignedIn(session))) = state.session(&request) else {
        return page(&state, None, None);
    };
    let answer =
        state.api.send(Method::GET, "/documents", Some(&session.tokens.access_token), None).await;
    let (documents, notice) = match answer {
        Ok(answer) if answer.status.is_success() => (titles(&answer.body), None),
        Ok(answer) => (
            Vec::new(),
            Some(format!(
                "The resource server answered {}: renew the tokens or sign in again.",
                answer.status.as_u16()
            )),
        ),
        Err(_) => (Vec::new(), Some("The resource server cannot be reached.".to_owned())),
    };
    let person = Person {
        name: session.name,
        subject: session.subject,
        scope: session.tokens.scope,
        documents,
        csrf: session.csrf,
    };
    page(&state, notice, Some(person))
}

fn titles(body: &Value) -> Vec<String> {
    let documents =
        body.get("documents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    documents
        .iter()
        .filter_map(|document| document.get("title")?.as_str().map(str::to_owned))
        .collect()
}

async fn sign_in(state: web::Data<State>) -> HttpResponse {
    // The walk has had Alice's consent already; a person who clicks shall see the question all the same.
    let begun = state.client.authorization_url(Some("consent"));
    let (Ok((url, pending)), Ok(id)) = (begun, oauth::random_text()) else {
        return page(&state, Some("The authorization server offers no sign-in.".into()), None);
    };
    state.keep(id.clone(), Session::Away(pending));
    see_other(url.as_str(), Some(&id))
}

async fn callback(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let Some((id, Session::Away(pending))) = state.session(&request) else {
        return page(
            &state,
            Some("This answer belongs to no sign-in that began here.".into()),
            None,
        );
    };
    state.sessions().remove(&id);
    match finish(&state, &request, &pending).await {
        Ok((id, session)) => {
            state.keep(id.clone(), Session::SignedIn(Box::new(session)));
            see_other("/", Some(&id))
        }
        Err(error) => page(&state, Some(format!("Signing in did not succeed: {error}.")), None),
    }
}

async fn finish(
    state: &State,
    request: &HttpRequest,
    pending: &Pending,
) -> anyhow::Result<(String, SignedIn)> {
    let answer = Url::parse(&format!("{}{}", state.base, request.uri()))?;
    let code = state.client.code(&answer, pending)?;
    let (tokens, who) = state.client.redeem(&code, pending).await?;
    let claims = state.client.userinfo(&tokens.access_token, &who.sub).await?;
    let name = claims.get("name").and_then(Value::as_str).unwrap_or(who.sub.as_str()).to_owned();
    let id_token = tokens.id_token.clone().unwrap_or_default();
    let session = SignedIn {
        tokens,
        id_token,
        name,
        subject: who.sub.to_string(),
        csrf: oauth::random_text()?,
    };
    Ok((oauth::random_text()?, session))
}

#[derive(Deserialize)]
struct NewDocument {
    csrf: String,
    title: String,
    body: String,
}

async fn create(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<NewDocument>,
) -> HttpResponse {
    let Some((_, session)) = state.authorised(&request, &form.csrf) else {
        return see_other("/", None);
    };
    let document = json!({ "title": form.title, "body": form.body });
    let answer = state
        .api
        .send(Method::POST, "/documents", Some(&session.tokens.access_token), Some(document))
        .await;
    match answer {
        Ok(answer) if answer.status.is_success() => see_other("/", None),
        Ok(answer) => page(
            &state,
            Some(format!("The resource server answered {}.", answer.status.as_u16())),
            None,
        ),
        Err(_) => page(&state, Some("The resource server cannot be reached.".into()), None),
    }
}

#[derive(Deserialize)]
struct Csrf {
    csrf: String,
}

async fn refresh(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<Csrf>,
) -> HttpResponse {
    let Some((id, mut session)) = state.authorised(&request, &form.csrf) else {
        return see_other("/", None);
    };
    let renewed = match session.tokens.refresh_token.as_deref() {
        Some(token) => state.client.refresh(token).await,
        None => Err(anyhow::anyhow!("there is no refresh token")),
    };
    match renewed {
        Ok(tokens) => {
            session.tokens = tokens;
            state.keep(id, Session::SignedIn(Box::new(session)));
            see_other("/", None)
        }
        Err(error) => page(&state, Some(format!("Renewing did not succeed: {error}.")), None),
    }
}

async fn sign_out(
    state: web::Data<State>,
    request: HttpRequest,
    form: web::Form<Csrf>,
) -> HttpResponse {
    let Some((id, session)) = state.authorised(&request, &form.csrf) else {
        return see_other("/", None);
    };
    state.sessions().remove(&id);
    match state.client.end_session_url(&session.id_token, &format!("{}/", state.base)) {
        Ok(url) => see_other(url.as_str(), None),
        Err(_) => see_other("/", None),
    }
}

fn page(state: &State, notice: Option<String>, person: Option<Person>) -> HttpResponse {
    let index = Index { issuer: &state.client.metadata.issuer, notice, person };
    match index.render() {
        Ok(html) => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; form-action 'self' http://localhost:*; frame-ancestors 'none'; base-uri 'none'"))
            .body(html),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

fn see_other(target: &str, session: Option<&str>) -> HttpResponse {
    let mut answer = HttpResponse::SeeOther();
    answer
        .insert_header((header::LOCATION, target))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(id) = session {
        answer.cookie(
            Cookie::build(COOKIE, id).path("/").http_only(true).same_site(SameSite::Lax).finish(),
        );
    }
    answer.finish()
}
