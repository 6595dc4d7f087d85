//! The whole flow, step by step, each told in plain words.

use anyhow::{Context as _, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::{Browser, Page, Visit};
use crate::oauth::{self, Client, Pending, Tokens};
use crate::servers::Plan;
use crate::story::{came, say, sent, short, step};

/// Walks the flow; the first step that does not go as it should ends it.
pub async fn walk(plan: &Plan, client: &Client) -> anyhow::Result<()> {
    let api = Api::new(&plan.resource)?;
    closed_door(&api).await?;
    let (browser, code, pending) = sign_in(plan, client).await?;
    redeem(client, &code, &pending).await?;
    let tokens = replay(client, browser, &code, &pending).await?;
    documents(&api, &tokens).await?;
    let tokens = refresh(client, &tokens).await?;
    machine(&api, client).await?;
    give_back(client, &tokens).await?;
    say("");
    say(
        "All four parties have done their part: the Client, the Authorization Server, the Resource Server and the Resource Owner.",
    );
    Ok(())
}

async fn closed_door(api: &Api) -> anyhow::Result<()> {
    step("A stranger knocks at the resource server without a token");
    let answer = api.send(Method::GET, "/documents", None, None).await?;
    ensure!(answer.status == StatusCode::UNAUTHORIZED, "the door was open: {}", answer.status);
    came(&format!("401, WWW-Authenticate: {}", answer.challenge));
    say("The door stays shut, and the answer says where tokens for it come from.");
    Ok(())
}

async fn sign_in(plan: &Plan, client: &Client) -> anyhow::Result<(Browser, String, Pending)> {
    step("The client reads what the authorization server says of itself");
    came(&format!(
        "issuer {}, authorization_endpoint, token_endpoint, jwks_uri, …",
        client.metadata.issuer
    ));

    step("The client sends Alice's browser to the authorization server");
    let (url, pending) = client.authorization_url(None)?;
    sent(&format!(
        "GET {} with client_id=demo-web, a state, a nonce, and the hash of a secret that only the client knows (PKCE)",
        url.path()
    ));
    let mut browser = Browser::new()?;
    let page = expect_page(browser.open(url).await?, "login-form")?;
    came("the sign-in page");

    step("Alice signs in");
    sent(
        "her user name and password, to the authorization server only: the client never sees them",
    );
    let visit =
        browser.submit(&page, &[("username", "alice"), ("password", &plan.password)]).await?;
    let page = expect_page(visit, "consent-form")?;
    came("the consent page: who asks, and for what");

    step("Alice allows it");
    sent("“allow”");
    let answer = match browser.submit(&page, &[("decision", "allow")]).await? {
        Visit::Leaves(url) => url,
        Visit::Page(page) => bail!("the browser stayed at {}", page.url.path()),
    };
    let code = client.code(&answer, &pending)?;
    came(&format!(
        "her browser returns to the client with code={}, the state and the issuer",
        short(&code)
    ));

    Ok((browser, code, pending))
}

async fn redeem(client: &Client, code: &str, pending: &Pending) -> anyhow::Result<()> {
    step("The client redeems the code");
    sent("POST /token with the code, the PKCE secret and its own credentials");
    let (tokens, who) = client.redeem(code, pending).await?;
    came(&format!(
        "an access token  {}  good for {} s, scope: {}",
        short(&tokens.access_token),
        tokens.expires_in,
        tokens.scope
    ));
    came(&format!(
        "an ID token      signed, for this client, with our nonce: the person is {}",
        who.sub
    ));
    came(&format!(
        "a refresh token  {}",
        short(tokens.refresh_token.as_deref().unwrap_or_default())
    ));

    let claims = client.userinfo(&tokens.access_token, &who.sub).await?;
    let name = claims.get("name").and_then(Value::as_str).context("userinfo has no name")?;
    sent("GET /userinfo with the access token");
    came(&format!("her name, since she allowed the scope profile: {name}"));

    Ok(())
}

/// The replay ends what the first use gave, so the client comes back for more: without a click this time.
async fn replay(
    client: &Client,
    mut browser: Browser,
    code: &str,
    pending: &Pending,
) -> anyhow::Result<Tokens> {
    step("Somebody tries the same code again");
    match client.redeem(code, pending).await {
        Ok(_) => bail!("a code was redeemed twice"),
        Err(error) => came(&format!(
            "{error}: and everything the first use gave is revoked, since one of the two is a thief"
        )),
    }
    say("So the client starts over; Alice is still signed in and has allowed this before.");
    let (url, pending) = client.authorization_url(None)?;
    let Visit::Leaves(answer) = browser.open(url).await? else {
        bail!("the browser was asked again although nothing is missing");
    };
    let (tokens, _) = client.redeem(&client.code(&answer, &pending)?, &pending).await?;
    came("fresh tokens, without a single click");
    Ok(tokens)
}

async fn documents(api: &Api, tokens: &Tokens) -> anyhow::Result<()> {
    step("The client works with Alice's documents at the resource server");
    let token = Some(tokens.access_token.as_str());
    let created = api
        .send(
            Method::POST,
            "/documents",
            token,
            Some(json!({ "title": "Packing list", "body": "Toothbrush" })),
        )
        .await?;
    ensure!(created.status == StatusCode::CREATED, "no document was created: {}", created.status);
    sent("POST /documents with “Authorization: Bearer …”");
    came("201, the document");
    let list = api.send(Method::GET, "/documents", token, None).await?;
    let count = list.body.get("documents").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(list.status == StatusCode::OK && count == 1, "the document is not listed");
    sent("GET /documents");
    came("200, one document");
    say(
        "The resource server asked nobody: it checked the signature with the published key, the audience, the expiry and the scope.",
    );
    let id = created.body.get("id").and_then(Value::as_str).context("the document has no id")?;
    let shared = api
        .send(
            Method::POST,
            &format!("/documents/{id}/share"),
            token,
            Some(json!({ "with": "acct_bob" })),
        )
        .await?;
    ensure!(shared.status == StatusCode::FORBIDDEN, "sharing was not refused: {}", shared.status);
    sent("POST /documents/…/share");
    came("403: this token does not have the scope documents:share");
    Ok(())
}

async fn refresh(client: &Client, tokens: &Tokens) -> anyhow::Result<Tokens> {
    step("The access token grows old, the client renews it");
    let old = tokens.refresh_token.as_deref().context("no refresh token")?;
    sent(&format!("POST /token with the refresh token {}", short(old)));
    let renewed = client.refresh(old).await?;
    let new = renewed.refresh_token.as_deref().context("no refresh token came back")?;
    ensure!(new != old, "the refresh token was not replaced");
    came(&format!("a new access token, and a new refresh token {}", short(new)));
    let again = client.refresh(old).await?;
    ensure!(
        again.refresh_token.as_deref() == Some(new),
        "a repeated request got another successor"
    );
    say(
        "The same request once more, as after a lost answer, gets the same successor: nothing is lost, nothing is doubled.",
    );
    Ok(renewed)
}

async fn machine(api: &Api, client: &Client) -> anyhow::Result<()> {
    step("A machine comes with its own credentials");
    sent("POST /token with grant_type=client_credentials");
    let tokens = client.client_credentials().await?;
    came(&format!("an access token {}, scope: {}", short(&tokens.access_token), tokens.scope));
    let who = api.send(Method::GET, "/whoami", Some(&tokens.access_token), None).await?;
    ensure!(
        who.body.get("sub").and_then(Value::as_str) == Some("demo-machine"),
        "the machine is somebody else"
    );
    let list = api.send(Method::GET, "/documents", Some(&tokens.access_token), None).await?;
    let count = list.body.get("documents").and_then(Value::as_array).map(Vec::len);
    ensure!(count == Some(0), "the machine sees another owner's documents");
    came("the resource server knows it as demo-machine, and shows it none of Alice's documents");
    Ok(())
}

async fn give_back(client: &Client, tokens: &Tokens) -> anyhow::Result<()> {
    step("The client gives its refresh token back");
    let token = tokens.refresh_token.as_deref().context("no refresh token")?;
    client.revoke(token).await?;
    sent("POST /revoke");
    match client.refresh(token).await {
        Ok(_) => bail!("a revoked refresh token still works"),
        Err(error) => came(&format!("from now on it is refused: {error}")),
    }
    Ok(())
}

fn expect_page(visit: Visit, form: &str) -> anyhow::Result<Page> {
    match visit {
        Visit::Page(page) if page.html.contains(&format!("id=\"{form}\"")) => Ok(page),
        Visit::Page(page) => bail!("{} shows no {form}", page.url.path()),
        Visit::Leaves(url) => bail!("the browser was sent to {} instead of {form}", url.path()),
    }
}

/// The documents API as a client sees it.
pub struct Api {
    http: reqwest::Client,
    base: String,
}

/// What the API answered.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `WWW-Authenticate`.
    pub challenge: String,
    /// The body, null when there is none.
    pub body: Value,
}

impl Api {
    /// The API at `base`.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        Ok(Self { http: oauth::http_client()?, base: base.to_owned() })
    }

    /// One request.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let challenge = answer
            .headers()
            .get(reqwest::header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok());
        let challenge = challenge.unwrap_or_default().to_owned();
        Ok(Answer {
            status: answer.status(),
            challenge,
            body: answer.json().await.unwrap_or_default(),
        })
    }
}
