//! What both servers really answer, held against what their `/openapi.json` says of it: status, media type, and every member of the body
//! ([OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0)).

use reqwest::Method;
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::client::{Client, Documents};
use tests::http::{Answer, Http, send};
use tests::world::{Guarded, World};

/// A published document.
struct Published(Value);

impl Published {
    async fn at(base: &str) -> Self {
        Self(Http::new().get(&format!("{base}/openapi.json")).await.expect(200).json())
    }

    /// The answer is one that the document tells of.
    #[track_caller]
    fn tells(&self, method: &str, path: &str, answer: &Answer) {
        let what = format!("{method} {path} {}: {}", answer.status, answer.text());
        let told =
            &self.0["paths"][path][method.to_lowercase()]["responses"][answer.status.to_string()];
        assert!(told.is_object(), "not told: {what}");
        let sent = answer.header("Content-Type").split(';').next().unwrap();
        if answer.body.is_empty() {
            return;
        }
        let schema = &told["content"][sent]["schema"];
        assert!(schema.is_object(), "{sent} is not told: {what}");
        if sent.ends_with("json") {
            let faults = self.faults(schema, &answer.json(), "body");
            assert!(faults.is_empty(), "{faults:?} in {what}");
        }
    }

    /// Where `value` is not what `schema` says. Only what our documents use is understood; a keyword beside it is a fault, and so is a
    /// member that a schema does not name: stricter than JSON Schema, which lets both pass.
    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            return self.faults(self.0.pointer(&name[1..]).unwrap(), value, at);
        }
        let mut faults = Vec::new();
        for (keyword, rule) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "type" if !is_of(rule, value) => faults.push(format!("{at}: {value} is no {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    faults.push(format!("{at}: {value} is none of {rule}"));
                }
                "oneOf" => {
                    let fits = |one: &&Value| self.faults(one, value, at).is_empty();
                    if rule.as_array().unwrap().iter().filter(fits).count() != 1 {
                        faults.push(format!("{at}: {value} is not one of {rule}"));
                    }
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        faults.extend(self.faults(rule, item, &format!("{at}[{index}]")));
                    }
                }
                "required" => {
                    for name in rule.as_array().unwrap() {
                        if value.get(name.as_str().unwrap()).is_none() {
                            faults.push(format!("{at}: {name} is missing"));
                        }
                    }
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        match rule.get(name) {
                            Some(rule) => {
                                faults.extend(self.faults(rule, member, &format!("{at}.{name}")));
                            }
                            None if schema["additionalProperties"] == true => {}
                            None => faults.push(format!("{at}.{name} is not told")),
                        }
                    }
                }
                "type" | "enum" | "description" | "examples" | "additionalProperties" => {}
                other => faults.push(format!("{at}: the keyword {other} is not understood here")),
            }
        }
        faults
    }
}

fn is_of(kinds: &Value, value: &Value) -> bool {
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    };
    match kinds {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_wrong_answer_is_found() {
    let page = json!({"type": "object", "required": ["next"], "properties": {"next": {"type": ["string", "null"]}}});
    let published = Published(json!({}));
    let faults = |value: Value| published.faults(&page, &value, "body").len();
    assert_eq!(faults(json!({"next": null})), 0);
    assert_eq!(faults(json!({"next": "x"})), 0);
    for wrong in [json!({}), json!({"next": 1}), json!({"next": null, "more": 1}), json!([])] {
        assert!(faults(wrong.clone()) > 0, "{wrong}");
    }
}

#[tokio::test]
async fn what_clients_of_the_auth_server_are_answered_is_what_its_document_says() {
    let world = World::start().await;
    let issuer = world.auth.issuer.clone();
    let told = Published::at(&issuer).await;
    let (web, http) = (world.web(), Http::new());
    let scope = "openid profile email offline_access documents:read";
    let tokens = world.tokens(&web, scope, "told").await;
    told.tells("POST", "/token", &tokens);
    let (access, refresh) = (tokens.member("access_token"), tokens.member("refresh_token"));
    told.tells("POST", "/token", &world.machine().client_credentials("documents:read").await);
    told.tells("POST", "/token", &web.refresh("unknown").await.expect(400));
    let wrong = Client::new(&issuer, "web", "wrong", "");
    told.tells("POST", "/token", &wrong.refresh("unknown").await.expect(401));
    let long = "x".repeat(1024 * 1024);
    told.tells("POST", "/token", &web.refresh(&long).await.expect(413));
    for token in [&access, &refresh, "unknown"] {
        told.tells("POST", "/introspect", &web.introspect(token).await.expect(200));
    }
    told.tells("POST", "/introspect", &wrong.introspect(&access).await.expect(401));
    told.tells("GET", "/userinfo", &web.userinfo(&access).await.expect(200));
    told.tells("GET", "/userinfo", &web.userinfo("unknown").await.expect(401));
    told.tells("GET", "/userinfo", &http.get(&format!("{issuer}/userinfo")).await.expect(401));
    told.tells("POST", "/revoke", &wrong.revoke(&refresh).await.expect(401));
    told.tells("POST", "/revoke", &web.revoke(&refresh).await.expect(200));
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/jwks.json",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/logged-out",
    ] {
        told.tells("GET", path, &http.get(&format!("{issuer}{path}")).await.expect(200));
    }
}

#[tokio::test]
async fn what_a_browser_is_answered_is_what_the_document_says() {
    let world = World::start().await;
    let issuer = world.auth.issuer.clone();
    let told = Published::at(&issuer).await;
    let (web, http) = (world.web(), Http::new());
    let begun = http.get(&web.begin("openid", "told").url()).await.expect(303);
    told.tells("GET", "/authorize", &begun);
    told.tells("GET", "/authorize", &http.get(&format!("{issuer}/authorize")).await.expect(400));
    told.tells("GET", "/login", &http.get(&format!("{issuer}/login")).await.expect(400));
    told.tells("GET", "/login", &http.get(begun.header("Location")).await);
    for path in ["/login", "/consent"] {
        let url = format!("{issuer}{path}");
        told.tells("POST", path, &http.post_form(&url, &[("csrf", "forged")]).await);
        let plain = http.request(Method::POST, &url).body("x");
        told.tells("POST", path, &send(plain).await);
    }
    told.tells("GET", "/end_session", &http.get(&format!("{issuer}/end_session")).await);
}

/// A form that posts itself to the client is what a sign-in ends with where `response_mode=form_post` was asked for.
#[tokio::test]
async fn a_sign_in_may_end_in_a_page_that_goes_to_the_client() {
    let world = World::start().await;
    let told = Published::at(&world.auth.issuer).await;
    let web = world.web();
    world.tokens(&web, "openid", "before").await;
    let mut browser = Browser::new();
    let pending = web.begin("openid", "posted").param("response_mode", "form_post");
    let first = browser.get(&pending.url()).await;
    let page = browser.settle(first).await;
    let form = page
        .form("login-form")
        .set("username", tests::world::ALICE.0)
        .set("password", tests::world::ALICE.1)
        .press("login-submit");
    let posted = browser.submit(&page, &form).await;
    assert_eq!(posted.answer.status, 200, "{}", posted.answer.text());
    told.tells("POST", "/login", &posted.answer);
}

#[tokio::test]
async fn what_clients_of_the_resource_server_are_answered_is_what_its_document_says() {
    let api = Guarded::start().await;
    let told = Published::at(&api.url).await;
    let token = api.token().claim("scope", "documents:read documents:write documents:share").text();
    let alice = api.documents(&token);
    let created = alice.create("First", "Hello").await.expect(201);
    told.tells("POST", "/documents", &created);
    alice.create("Second", "Hello").await.expect(201);
    let id = created.member("id");
    told.tells("GET", "/documents", &alice.list("").await.expect(200));
    told.tells("GET", "/documents", &alice.list("?limit=1").await.expect(200));
    told.tells("GET", "/documents", &alice.list("?limit=0").await.expect(400));
    told.tells("GET", "/documents/{id}", &alice.read(&id).await.expect(200));
    told.tells("GET", "/documents/{id}", &alice.read("unknown").await.expect(404));
    told.tells("PUT", "/documents/{id}", &alice.change(&id, "Third", "").await.expect(200));
    told.tells("POST", "/documents/{id}/share", &alice.share(&id, "acct_bob").await.expect(403));
    told.tells("DELETE", "/documents/{id}", &alice.delete(&id).await.expect(204));
    let long = "x".repeat(1024 * 1024);
    told.tells("POST", "/documents", &alice.create("Long", &long).await.expect(413));
    let plain = alice.request(Method::POST, "/documents").body("x");
    told.tells("POST", "/documents", &send(plain).await.expect(415));
    told.tells("GET", "/whoami", &alice.whoami().await.expect(200));
    told.tells("GET", "/whoami", &Documents::anonymous(&api.url).whoami().await.expect(401));
    let http = Http::new();
    for path in ["/healthz", "/readyz", "/openapi.json", "/.well-known/oauth-protected-resource"] {
        told.tells("GET", path, &http.get(&format!("{}{path}", api.url)).await.expect(200));
    }
}
