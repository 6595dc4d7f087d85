//! An issuer that does as it is told: right, down, hanging, redirecting, oversized, dripping.

use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Alg, Key, Token};
use crate::background;

/// What was asked of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Its metadata, at either well-known path.
    Metadata,
    /// Its key set.
    Jwks,
    /// Anything else: nobody has any business there.
    Elsewhere,
}

/// How the issuer answers a request for its key set (and its metadata, when [`FakeIssuer::whole`] is set).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// With this status and no body.
    Failing(u16),
    /// Not before [`FakeIssuer::set_mood`] is called again; then by that mood.
    Hanging,
    /// With a redirect to this address, where keys can be had.
    Redirecting(String),
    /// With the right keys, and blanks behind them up to this many bytes.
    Oversized(usize),
    /// With the first half of the right answer, and then nothing, on an open connection.
    Dripping,
}

#[derive(Debug)]
struct State {
    metadata: Value,
    keys: Vec<Value>,
    metadata_suffers: bool,
}

#[derive(Clone, Debug)]
struct Shared {
    state: Arc<Mutex<State>>,
    mood: watch::Sender<Mood>,
    fetches: watch::Sender<Vec<Fetch>>,
}

/// A running issuer on a loopback port of its own. It stops when it is dropped.
#[derive(Debug)]
pub struct FakeIssuer {
    /// Its identifier and address, `http://127.0.0.1:PORT`.
    pub url: String,
    /// The key that it publishes at first, `k1`, ES256.
    pub key: Key,
    shared: Shared,
    server: ServerHandle,
}

impl FakeIssuer {
    /// Starts an issuer that publishes one ES256 key.
    pub async fn start() -> Self {
        let key = Key::new(Alg::Es256, "k1");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared {
            state: Arc::new(Mutex::new(State {
                metadata: json!({
                    "issuer": url,
                    "jwks_uri": format!("{url}/jwks.json"),
                    "authorization_endpoint": format!("{url}/authorize"),
                    "token_endpoint": format!("{url}/token"),
                    "response_types_supported": ["code"],
                }),
                keys: vec![key.jwk()],
                metadata_suffers: false,
            })),
            mood: watch::Sender::new(Mood::Well),
            fetches: watch::Sender::new(Vec::new()),
        };
        let data = web::Data::new(shared.clone());
        let server = background::run(async move {
            let server = HttpServer::new(move || {
                App::new().app_data(data.clone()).default_service(web::route().to(answer))
            })
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
            let handle = server.handle();
            tokio::spawn(server);
            handle
        })
        .await;
        Self { url, key, shared, server }
    }

    /// A right access token of this issuer, see [`Token::access`].
    pub fn token(&self, audience: &str, now: i64) -> Token {
        Token::access(&self.key, &self.url, audience, now)
    }

    /// How it answers from now on. Requests that hang go on in the new mood.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// Whether the mood spoils the metadata too, not only the key set.
    pub fn whole(&self, metadata_suffers: bool) {
        self.shared.state.lock().unwrap().metadata_suffers = metadata_suffers;
    }

    /// Publishes these keys and no others.
    pub fn publish(&self, keys: Vec<Value>) {
        self.shared.state.lock().unwrap().keys = keys;
    }

    /// Sets a member of the metadata document.
    pub fn set_metadata(&self, name: &str, value: impl Into<Value>) {
        self.shared.state.lock().unwrap().metadata[name] = value.into();
    }

    /// How often `fetch` has been asked for.
    pub fn count(&self, fetch: Fetch) -> usize {
        count(&self.shared.fetches.borrow(), fetch)
    }

    /// Waits until `fetch` has been asked for `times` times in all.
    pub async fn arrival(&self, fetch: Fetch, times: usize) {
        let mut fetches = self.shared.fetches.subscribe();
        fetches.wait_for(|fetches| count(fetches, fetch) >= times).await.unwrap();
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        // The order to stop goes out at once; nobody waits for it.
        drop(self.server.stop(false));
    }
}

fn count(fetches: &[Fetch], fetch: Fetch) -> usize {
    fetches.iter().filter(|f| **f == fetch).count()
}

async fn answer(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let fetch = match request.path() {
        "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" => {
            Fetch::Metadata
        }
        "/jwks.json" => Fetch::Jwks,
        _ => Fetch::Elsewhere,
    };
    shared.fetches.send_modify(|fetches| fetches.push(fetch));
    let (body, suffers) = {
        let state = shared.state.lock().unwrap();
        match fetch {
            Fetch::Metadata => (state.metadata.to_string(), state.metadata_suffers),
            // Keys stand elsewhere too: whoever follows a redirect or a `jku` finds what it looks for, and is found out.
            Fetch::Jwks | Fetch::Elsewhere => {
                (json!({ "keys": state.keys }).to_string(), fetch == Fetch::Jwks)
            }
        }
    };
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    let mut mood = shared.mood.subscribe();
    let mood = if suffers {
        let settled = mood.wait_for(|mood| *mood != Mood::Hanging).await;
        settled.map_or(Mood::Well, |mood| mood.clone())
    } else {
        Mood::Well
    };
    match mood {
        Mood::Well | Mood::Hanging => response.body(body),
        Mood::Failing(status) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).finish()
        }
        Mood::Redirecting(to) => HttpResponse::Found().insert_header((LOCATION, to)).finish(),
        Mood::Oversized(bytes) => {
            let blanks = " ".repeat(bytes.saturating_sub(body.len()));
            response.body(format!("{body}{blanks}"))
        }
        Mood::Dripping => {
            let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
            let rest = stream::pending::<Result<Bytes, actix_web::Error>>();
            let first = stream::iter([Ok::<_, actix_web::Error>(half)]);
            response.streaming(futures_util::StreamExt::chain(first, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Http;

    #[tokio::test]
    async fn it_counts_what_is_asked_and_does_as_it_is_told() {
        let issuer = FakeIssuer::start().await;
        let http = Http::new();
        let jwks = format!("{}/jwks.json", issuer.url);
        assert_eq!(http.get(&jwks).await.json()["keys"][0]["kid"], "k1");
        issuer.set_mood(Mood::Failing(503));
        assert_eq!(http.get(&jwks).await.status, 503);
        issuer.set_mood(Mood::Oversized(100_000));
        assert_eq!(http.get(&jwks).await.body.len(), 100_000);
        let metadata = format!("{}/.well-known/openid-configuration", issuer.url);
        assert_eq!(http.get(&metadata).await.json()["issuer"], issuer.url.as_str());
        assert_eq!(issuer.count(Fetch::Jwks), 3);
        assert_eq!(issuer.count(Fetch::Metadata), 1);
    }

    #[tokio::test]
    async fn a_hanging_answer_comes_with_the_next_mood() {
        let issuer = FakeIssuer::start().await;
        issuer.set_mood(Mood::Hanging);
        let url = format!("{}/jwks.json", issuer.url);
        let waiting = tokio::spawn(async move { Http::new().get(&url).await.status });
        issuer.arrival(Fetch::Jwks, 1).await;
        assert!(!waiting.is_finished());
        issuer.set_mood(Mood::Well);
        assert_eq!(waiting.await.unwrap(), 200);
    }
}
