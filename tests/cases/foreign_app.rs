//! The guard in somebody else's application, as docs/forking.md shows it: none of this server's routes, settings, store or logs, only
//! the library and its public names.

use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use resource_server::guard::{Granted, Guard, GuardOptions, NoKeyStore, RequiredScope};
use serde_json::json;
use shared_types::{Audience, Clock as _, Issuer};
use tests::background;
use tests::client::Documents;
use tests::http::{Answer, Http, send};
use tests::oracle::{FakeIssuer, Mood};
use tests::world::{clock, free_address};

#[derive(Debug)]
struct ReadOrders;

impl RequiredScope for ReadOrders {
    const SCOPE: &'static str = "orders:read";
}

async fn orders(granted: Granted<ReadOrders>) -> HttpResponse {
    let claims = granted.claims();
    HttpResponse::Ok().json(json!({ "iss": claims.iss, "sub": claims.sub }))
}

async fn prices() -> &'static str {
    "for everybody"
}

/// An application of two routes; it stops when it is dropped.
struct Shop {
    url: String,
    server: ServerHandle,
}

impl Shop {
    async fn open(issuer: &str) -> Self {
        let address = free_address();
        let url = format!("http://{address}");
        let resource = Audience::parse(&*url).unwrap();
        let options = GuardOptions::new(resource, vec![Issuer::parse(issuer).unwrap()]);
        let server = background::run(async move {
            let guard = Guard::open(options, clock(), Arc::new(NoKeyStore)).await.unwrap();
            let server = HttpServer::new(move || {
                App::new()
                    .configure(guard.mount())
                    .route("/orders", web::get().to(orders))
                    .route("/prices", web::get().to(prices))
            });
            let server = server.workers(1).disable_signals().bind(address).unwrap().run();
            let handle = server.handle();
            tokio::spawn(server);
            handle
        });
        Self { server: server.await, url }
    }

    async fn orders(&self, caller: &Documents) -> Answer {
        send(caller.request(reqwest::Method::GET, "/orders")).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let stop = self.server.stop(false);
        background::start(stop);
    }
}

#[tokio::test]
async fn the_guard_opens_a_foreign_application_to_good_tokens_only() {
    let issuer = FakeIssuer::start().await;
    let shop = Shop::open(&issuer.url).await;
    let now = clock().now().as_i64();
    let token = || issuer.token(&shop.url, now).claim("scope", "orders:read");
    let bearer = |token: &str| Documents::bearer(&shop.url, token);

    let answer = shop.orders(&bearer(&token().text())).await.expect(200);
    assert_eq!(answer.json()["iss"], issuer.url);
    let again = shop.orders(&bearer(&token().text())).await.expect(200);
    assert_eq!(again.json()["sub"], answer.json()["sub"]);

    let bare = shop.orders(&Documents::anonymous(&shop.url)).await.expect(401);
    assert_eq!(bare.challenge().scheme, "Bearer");
    assert_eq!(bare.challenge().get("error"), "");
    let metadata = bare.challenge().get("resource_metadata").to_owned();
    let metadata = Http::new().get(&metadata).await.expect(200).json();
    assert_eq!(metadata["resource"], shop.url);
    assert_eq!(metadata["authorization_servers"], json!([issuer.url]));

    let (good, poor) = (token().text(), token().claim("scope", "orders:write").text());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    for (bad, status, error) in [
        (token().claim("aud", "https://other.example").text(), 401, "invalid_token"),
        (token().claim("exp", now - 1).text(), 401, "invalid_token"),
        (forged, 401, "invalid_token"),
        (poor, 403, "insufficient_scope"),
        ("a b".to_owned(), 400, "invalid_request"),
    ] {
        let refused = shop.orders(&bearer(&bad)).await.expect(status);
        assert_eq!(refused.challenge().get("error"), error, "{bad}");
    }
    assert_eq!(
        Http::new().get(&format!("{}/prices", shop.url)).await.expect(200).text(),
        "for everybody"
    );
}

#[tokio::test]
async fn a_foreign_application_lets_nobody_in_while_there_are_no_keys() {
    let issuer = FakeIssuer::start().await;
    issuer.set_mood(Mood::Failing(500));
    let shop = Shop::open(&issuer.url).await;
    let token = issuer.token(&shop.url, clock().now().as_i64()).claim("scope", "orders:read");
    shop.orders(&Documents::bearer(&shop.url, &token.text())).await.is_put_off();
}
