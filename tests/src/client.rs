//! What a client and its user's browser ask of the two servers, one verb each.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::browser::{Browser, Page};
use crate::http::{Answer, Http, send};
use crate::oracle::b64;

/// How a client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
    /// `none`: a public client, which only says its name.
    None,
}

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// The issuer's address, under which the endpoints are.
    pub issuer: String,
    /// Its `client_id`.
    pub id: String,
    /// Its secret; empty for a public client.
    pub secret: String,
    /// How it proves itself.
    pub auth: ClientAuth,
    /// Where it wants the browser back.
    pub redirect_uri: String,
    http: Http,
}

/// An authorization request that is under way: what the client has to remember until the browser comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `state`.
    pub state: String,
    /// `nonce`.
    pub nonce: String,
    /// `code_verifier` (RFC 7636 section 4.1).
    pub verifier: String,
    /// Parameters in order, to be changed by cases.
    pub params: Vec<(String, String)>,
    endpoint: String,
}

impl Client {
    /// A client of `issuer` by its name and secret (empty: public), with [`ClientAuth::Basic`] or none.
    pub fn new(issuer: &str, id: &str, secret: &str, redirect_uri: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            id: id.to_owned(),
            secret: secret.to_owned(),
            auth: if secret.is_empty() { ClientAuth::None } else { ClientAuth::Basic },
            redirect_uri: redirect_uri.to_owned(),
            http: Http::new(),
        }
    }

    /// The same client, proving itself in another way.
    #[must_use]
    pub fn with_auth(mut self, auth: ClientAuth) -> Self {
        self.auth = auth;
        self
    }

    /// Begins an authorization request for `scope`, with `tag` to tell its state, nonce and verifier from others.
    pub fn begin(&self, scope: &str, tag: &str) -> Pending {
        let verifier = b64(digest(&SHA256, format!("verifier {tag}").as_bytes()));
        let (state, nonce) = (format!("state-{tag}"), format!("nonce-{tag}"));
        let params = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", scope),
            ("state", &state),
            ("nonce", &nonce),
            ("code_challenge", &challenge(&verifier)),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        Pending { state, nonce, verifier, params, endpoint: format!("{}/authorize", self.issuer) }
    }

    /// POST to `/token` with the client's proof.
    pub async fn token(&self, fields: &[(&str, &str)]) -> Answer {
        self.post("/token", fields).await
    }

    /// Redeems a code that came back for `pending`.
    pub async fn redeem(&self, code: &str, pending: &Pending) -> Answer {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &pending.verifier),
        ])
        .await
    }

    /// Refreshes.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// Asks for a token of its own.
    pub async fn client_credentials(&self, scope: &str) -> Answer {
        self.token(&[("grant_type", "client_credentials"), ("scope", scope)]).await
    }

    /// Asks about a token (RFC 7662).
    pub async fn introspect(&self, token: &str) -> Answer {
        self.post("/introspect", &[("token", token)]).await
    }

    /// Gives a token back (RFC 7009).
    pub async fn revoke(&self, token: &str) -> Answer {
        self.post("/revoke", &[("token", token)]).await
    }

    /// The claims about the person.
    pub async fn userinfo(&self, access_token: &str) -> Answer {
        let url = format!("{}/userinfo", self.issuer);
        send(self.http.request(Method::GET, &url).bearer_auth(access_token)).await
    }

    /// The issuer's key set.
    pub async fn jwks(&self) -> Value {
        let url = format!("{}/jwks.json", self.issuer);
        self.http.get(&url).await.expect(200).json()
    }

    /// A POST to the issuer with the client's proof.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        let mut request = self.http.request(Method::POST, &format!("{}{path}", self.issuer));
        match self.auth {
            ClientAuth::Basic => request = request.header("Authorization", self.basic()),
            ClientAuth::Post => {
                fields.push(("client_id", &self.id));
                fields.push(("client_secret", &self.secret));
            }
            ClientAuth::None => fields.push(("client_id", &self.id)),
        }
        send(request.form(&fields)).await
    }

    /// The `Authorization` header: both halves form-encoded before they are joined (RFC 6749 section 2.3.1).
    fn basic(&self) -> String {
        let encode = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let joined = format!("{}:{}", encode(&self.id), encode(&self.secret));
        format!("Basic {}", STANDARD.encode(joined))
    }
}

impl Pending {
    /// With a parameter set, or added.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        match self.params.iter_mut().find(|(known, _)| known == name) {
            Some(param) => value.clone_into(&mut param.1),
            None => self.params.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// With a parameter once more, whether it stands there or not.
    #[must_use]
    pub fn again(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a parameter.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.params.retain(|(known, _)| known != name);
        self
    }

    /// At another instance of the issuer, which is reached at `address`.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        self.endpoint = format!("{address}/authorize");
        self
    }

    /// The URL that the browser is sent to.
    pub fn url(&self) -> String {
        Url::parse_with_params(&self.endpoint, &self.params).unwrap().into()
    }

    /// The code in the redirect that `page` is, after the checks that a client owes itself: it is the client's redirect,
    /// its own `state`, and the issuer it asked (RFC 9207 section 2.4).
    pub fn code(&self, page: &Page, client: &Client) -> String {
        let location = page.location();
        assert!(location.as_str().starts_with(&client.redirect_uri), "{location}");
        assert_eq!(page.location_param("state"), self.state);
        assert_eq!(page.location_param("iss"), client.issuer);
        let code = page.location_param("code");
        assert!(!code.is_empty(), "no code: {location}");
        code
    }
}

/// `code_challenge` for S256 (RFC 7636 section 4.2).
pub fn challenge(verifier: &str) -> String {
    b64(digest(&SHA256, verifier.as_bytes()))
}

/// Takes `browser` through sign-in and consent, as far as each is asked for; the page that comes back is the redirect to
/// the client.
pub async fn sign_in(browser: &mut Browser, url: &str, username: &str, password: &str) -> Page {
    let first = browser.get(url).await;
    let mut page = browser.settle(first).await;
    if page.element("login-form").is_some() {
        let form = page
            .form("login-form")
            .set("username", username)
            .set("password", password)
            .press("login-submit");
        let next = browser.submit(&page, &form).await;
        page = browser.settle(next).await;
    }
    if page.element("consent-form").is_some() {
        let form = page.form("consent-form").press("consent-allow");
        let next = browser.submit(&page, &form).await;
        page = browser.settle(next).await;
    }
    page
}

/// Someone who knocks at the resource server, with or without a token.
#[derive(Clone, Debug)]
pub struct Documents {
    url: String,
    authorization: Option<String>,
    http: Http,
}

impl Documents {
    /// A caller with a bearer token.
    pub fn bearer(url: &str, token: &str) -> Self {
        Self::with_authorization(url, &format!("Bearer {token}"))
    }

    /// A caller with this `Authorization` header, whatever it is.
    pub fn with_authorization(url: &str, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..Self::anonymous(url) }
    }

    /// A caller without any credential.
    pub fn anonymous(url: &str) -> Self {
        Self { url: url.to_owned(), authorization: None, http: Http::new() }
    }

    /// Any request, to be dressed further and [`send`]-ed.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, &format!("{}{path}", self.url));
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// `GET /whoami`, which any good token may.
    pub async fn whoami(&self) -> Answer {
        send(self.request(Method::GET, "/whoami")).await
    }

    /// `GET /documents` with a query such as `?limit=2`.
    pub async fn list(&self, query: &str) -> Answer {
        send(self.request(Method::GET, &format!("/documents{query}"))).await
    }

    /// `POST /documents`.
    pub async fn create(&self, title: &str, body: &str) -> Answer {
        let document = serde_json::json!({"title": title, "body": body});
        send(self.request(Method::POST, "/documents").json(&document)).await
    }

    /// `GET /documents/{id}`.
    pub async fn read(&self, id: &str) -> Answer {
        send(self.request(Method::GET, &format!("/documents/{id}"))).await
    }

    /// `PUT /documents/{id}`.
    pub async fn change(&self, id: &str, title: &str, body: &str) -> Answer {
        let document = serde_json::json!({"title": title, "body": body});
        let request = self.request(Method::PUT, &format!("/documents/{id}"));
        send(request.json(&document)).await
    }

    /// `DELETE /documents/{id}`.
    pub async fn delete(&self, id: &str) -> Answer {
        send(self.request(Method::DELETE, &format!("/documents/{id}"))).await
    }

    /// `POST /documents/{id}/share`.
    pub async fn share(&self, id: &str, with: &str) -> Answer {
        let request = self.request(Method::POST, &format!("/documents/{id}/share"));
        send(request.json(&serde_json::json!({ "with": with }))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
