//! An OAuth 2.1 and OpenID Connect client, as an application would have it: discovery, PKCE, state, nonce, `iss`, ID token.
//!
//! It is written out here so that the tour can show each message; an application takes a library.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use shared_types::id_token::{IdTokenRules, half_hash};
use shared_types::metadata::AuthorizationServerMetadata;
use shared_types::{
    ClientId, Clock as _, CompactJws, IdTokenClaims, Issuer, JwkSet, SigningAlg, Subject,
    SystemClock,
};
use url::Url;

use crate::servers::Plan;

/// The scopes that the web client asks for.
pub const SCOPE: &str = "openid profile offline_access documents:read documents:write";

/// The web client `demo-web`.
#[derive(Clone)]
pub struct Client {
    /// What the authorization server says of itself.
    pub metadata: AuthorizationServerMetadata,
    http: reqwest::Client,
    issuer: Issuer,
    redirect_uri: String,
    web_secret: String,
    machine_secret: String,
}

/// What the client remembers between sending the browser away and its return.
#[derive(Clone)]
pub struct Pending {
    /// Ties the answer to this browser.
    pub state: String,
    /// Ties the ID token to this request.
    pub nonce: String,
    /// Proves that the code is redeemed by who asked for it.
    pub code_verifier: String,
}

/// What the token endpoint answers.
#[derive(Clone, Deserialize)]
pub struct Tokens {
    /// For the resource server.
    pub access_token: String,
    /// In seconds.
    pub expires_in: i64,
    /// What it allows.
    pub scope: String,
    /// For the next access token.
    pub refresh_token: Option<String>,
    /// For the client itself.
    pub id_token: Option<String>,
}

/// An HTTP client that follows no redirects and waits ten seconds at most.
pub fn http_client() -> anyhow::Result<reqwest::Client> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    // The tour stays on this machine: no certificate is ever needed, but the client wants a TLS configuration.
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()?)
}

impl Client {
    /// Reads the metadata of the issuer ([RFC 8414 section 3](https://www.rfc-editor.org/rfc/rfc8414#section-3)).
    pub async fn discover(plan: &Plan) -> anyhow::Result<Self> {
        let http = http_client()?;
        let url = format!("{}/.well-known/openid-configuration", plan.issuer);
        let metadata: AuthorizationServerMetadata =
            http.get(url).send().await?.error_for_status()?.json().await?;
        // "The issuer value returned MUST be identical to the authorization server's issuer identifier value".
        ensure!(metadata.issuer == plan.issuer, "the metadata is of another issuer");
        Ok(Self {
            metadata,
            http,
            issuer: Issuer::parse(plan.issuer.clone())?,
            redirect_uri: format!("{}/callback", plan.client),
            web_secret: plan.web_secret.clone(),
            machine_secret: plan.machine_secret.clone(),
        })
    }

    /// Where to send the browser, and what to remember meanwhile.
    ///
    /// `prompt` is sent as it is ([OpenID Connect Core section 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
    pub fn authorization_url(&self, prompt: Option<&str>) -> anyhow::Result<(Url, Pending)> {
        let pending =
            Pending { state: random_text()?, nonce: random_text()?, code_verifier: random_text()? };
        let challenge = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            pending.code_verifier.as_bytes(),
        ));
        let endpoint =
            self.metadata.authorization_endpoint.as_deref().context("no authorization endpoint")?;
        let mut url = Url::parse(endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", "demo-web")
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", SCOPE)
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(prompt) = prompt {
            url.query_pairs_mut().append_pair("prompt", prompt);
        }
        Ok((url, pending))
    }

    /// Takes the code out of the answer, after checking that it is ours and from our issuer (RFC 9207: mix-up).
    pub fn code(&self, answer: &Url, pending: &Pending) -> anyhow::Result<String> {
        let get = |name: &str| {
            answer.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        ensure!(
            get("state").as_deref() == Some(&pending.state),
            "the answer belongs to another request"
        );
        ensure!(
            get("iss").as_deref() == Some(self.issuer.as_str()),
            "the answer is of another issuer"
        );
        if let Some(error) = get("error") {
            bail!("the authorization server answered {error}");
        }
        get("code").context("the answer has no code")
    }

    /// Redeems a code ([RFC 6749 section 4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3)) and checks the ID token that comes with it.
    pub async fn redeem(
        &self,
        code: &str,
        pending: &Pending,
    ) -> anyhow::Result<(Tokens, IdTokenClaims)> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &pending.code_verifier),
        ];
        let tokens = self.token("demo-web", &self.web_secret, &form).await?;
        let id_token = tokens.id_token.as_deref().context("no ID token came back")?;
        let claims = self.check_id_token(id_token, &pending.nonce, &tokens.access_token).await?;
        Ok((tokens, claims))
    }

    /// Renews ([RFC 6749 section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
    pub async fn refresh(&self, refresh_token: &str) -> anyhow::Result<Tokens> {
        self.token(
            "demo-web",
            &self.web_secret,
            &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)],
        )
        .await
    }

    /// A token for the machine itself ([RFC 6749 section 4.4](https://www.rfc-editor.org/rfc/rfc6749#section-4.4)).
    pub async fn client_credentials(&self) -> anyhow::Result<Tokens> {
        self.token("demo-machine", &self.machine_secret, &[("grant_type", "client_credentials")])
            .await
    }

    /// Who the person is, in her own words ([OpenID Connect Core section 5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo)).
    pub async fn userinfo(&self, access_token: &str, subject: &Subject) -> anyhow::Result<Value> {
        let endpoint =
            self.metadata.userinfo_endpoint.as_deref().context("no userinfo endpoint")?;
        let answer = self.http.get(endpoint).bearer_auth(access_token).send().await?;
        let claims: Value = answer.error_for_status()?.json().await?;
        // "The sub Claim in the UserInfo Response MUST be verified to exactly match the sub Claim in the ID Token".
        ensure!(
            claims.get("sub").and_then(Value::as_str) == Some(subject.as_str()),
            "userinfo is of somebody else"
        );
        Ok(claims)
    }

    /// Gives a token back ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
    pub async fn revoke(&self, token: &str) -> anyhow::Result<()> {
        let endpoint =
            self.metadata.revocation_endpoint.as_deref().context("no revocation endpoint")?;
        let request = self
            .http
            .post(endpoint)
            .basic_auth("demo-web", Some(&self.web_secret))
            .form(&[("token", token)]);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Where to send the browser to sign out.
    pub fn end_session_url(&self, id_token: &str, back: &str) -> anyhow::Result<Url> {
        let endpoint =
            self.metadata.end_session_endpoint.as_deref().context("no end session endpoint")?;
        Ok(Url::parse_with_params(
            endpoint,
            [("id_token_hint", id_token), ("post_logout_redirect_uri", back)],
        )?)
    }

    async fn token(
        &self,
        client_id: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<Tokens> {
        let endpoint = self.metadata.token_endpoint.as_deref().context("no token endpoint")?;
        let answer =
            self.http.post(endpoint).basic_auth(client_id, Some(secret)).form(form).send().await?;
        let status = answer.status();
        if !status.is_success() {
            let body: Value = answer.json().await.unwrap_or_default();
            bail!(
                "{} {}",
                status.as_u16(),
                body.get("error").and_then(|error| error.as_str()).unwrap_or("(no error code)")
            );
        }
        Ok(answer.json().await?)
    }

    /// Signature by the issuer's published key, then the claims ([OpenID Connect Core section 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)).
    async fn check_id_token(
        &self,
        id_token: &str,
        nonce: &str,
        access_token: &str,
    ) -> anyhow::Result<IdTokenClaims> {
        let jwks_uri = self.metadata.jwks_uri.as_deref().context("no jwks_uri")?;
        let set: JwkSet = self.http.get(jwks_uri).send().await?.error_for_status()?.json().await?;
        let token = CompactJws::split(id_token)?;
        let header = token.header()?;
        let key = set
            .keys
            .into_iter()
            .find(|key| Some(&key.kid) == header.unverified_kid.as_ref())
            .context("signed by an unknown key")?;
        ensure!(header.unverified_alg == key.alg, "the key is for another algorithm");
        let jwk: Jwk = serde_json::from_value(key.to_json().into())?;
        let good = jsonwebtoken::crypto::verify(
            token.signature,
            token.signing_input.as_bytes(),
            &DecodingKey::from_jwk(&jwk)?,
            algorithm(key.alg),
        )?;
        ensure!(good, "the signature of the ID token is wrong");
        let claims = IdTokenClaims::parse(&token.payload()?)?;
        let rules = IdTokenRules {
            issuer: self.issuer.clone(),
            client_id: ClientId::parse("demo-web")?,
            nonce: Some(nonce.to_owned()),
            clock_leeway: 10,
        };
        claims.check(&rules, SystemClock.now())?;
        ensure!(
            claims.at_hash == Some(half_hash(key.alg, access_token)),
            "the ID token is for another access token"
        );
        Ok(claims)
    }
}

fn algorithm(alg: SigningAlg) -> Algorithm {
    match alg {
        SigningAlg::Es256 => Algorithm::ES256,
        SigningAlg::EdDsa => Algorithm::EdDSA,
        SigningAlg::Rs256 => Algorithm::RS256,
        SigningAlg::Ps256 => Algorithm::PS256,
    }
}

/// 256 random bits as a text: a state, a nonce, a code verifier or a cookie.
pub fn random_text() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("no randomness")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
