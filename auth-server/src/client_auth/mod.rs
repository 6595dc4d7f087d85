//! Who asks: the client is authenticated by exactly one method, the one it is registered for ([RFC 6749 section 2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3)).
//!
//! Left out so far: `private_key_jwt` and mutual TLS.

use std::fmt::Display;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use shared_types::{ClientId, UnixSeconds};

use crate::app::App;
use crate::domain::client::{AuthMethod, Client};
use crate::domain::registry::Registry;
use crate::domain::secret::{PlainSecret, SecretHash};
use crate::domain::throttle::{self, Admission, Bucket};
use crate::error::TokenError;
use crate::log_format::security_event;
use crate::params::{self, Authorization, ClientRequest, Params};
use crate::store::{self, StoreError};

/// What a client shows. Nothing of it is proven.
#[derive(Debug)]
struct Credentials {
    method: AuthMethod,
    client_id: String,
    secret: Option<PlainSecret>,
    /// Whether the header `Authorization` was tried, so that a refusal owes a challenge.
    basic: bool,
}

/// The client that sent `request`, proven by its registered method.
///
/// Only a failure touches the database: it is counted per client and address, and too many are answered 429. A failure is also written
/// down here, so that no endpoint can forget it.
pub async fn authenticate(
    app: &App,
    registry: &Registry,
    request: &ClientRequest,
    now: UnixSeconds,
) -> Result<Arc<Client>, TokenError> {
    let credentials = credentials(&request.authorization, &request.params)
        .map_err(|cause| written_down(app, None, request, cause))?;
    let known =
        ClientId::parse(credentials.client_id.as_str()).ok().and_then(|id| registry.client(&id));
    let why = match (check(known.map(Arc::as_ref), &credentials, now), known) {
        (Ok(()), Some(client)) => return Ok(Arc::clone(client)),
        (Err(why), _) => why,
        (Ok(()), None) => "the client is unknown",
    };
    // Unknown clients share one bucket an address: made-up identifiers cannot fill the disk.
    let bucket_of = known.map_or("", |client| client.id().as_str());
    let buckets = throttle::client_authentication(bucket_of, request.address);
    let cause = match count(app, buckets, now).await? {
        Admission::Go => TokenError::ClientRefused { why, basic: credentials.basic },
        Admission::Wait(seconds) => TokenError::Throttled(seconds),
    };
    Err(written_down(app, known.map(Arc::as_ref), request, cause))
}

/// Counts a failure, unless there were too many: a flood that is refused takes no turn of the writer.
async fn count(app: &App, buckets: Vec<Bucket>, now: UnixSeconds) -> Result<Admission, StoreError> {
    let full = buckets.clone();
    match app.database.read(move |sql| store::throttle::look(sql, &full, now)).await? {
        Admission::Go => {
            app.database.write(move |sql| store::throttle::admit(sql, &buckets, now)).await
        }
        wait @ Admission::Wait(_) => Ok(wait),
    }
}

/// Like [`authenticate`], but a client that can keep no secret is refused: what is asked for is not for everybody who knows its name.
pub async fn authenticate_confidential(
    app: &App,
    registry: &Registry,
    request: &ClientRequest,
    now: UnixSeconds,
) -> Result<Arc<Client>, TokenError> {
    let client = authenticate(app, registry, request, now).await?;
    if client.is_public() {
        let why = "a public client cannot be authenticated";
        let cause = TokenError::ClientRefused { why, basic: false };
        return Err(written_down(app, Some(&client), request, cause));
    }
    Ok(client)
}

/// Puts a failure into the security log. Only a registered client is named: what a stranger calls itself is its own text, and may be a
/// secret in the wrong field.
fn written_down(
    app: &App,
    client: Option<&Client>,
    request: &ClientRequest,
    cause: TokenError,
) -> TokenError {
    let code = cause.code().as_str();
    let mut fields: Vec<(&'static str, &dyn Display)> =
        vec![("error", &code), ("cause", &cause), ("client", &request.address)];
    fields.extend(client.map(|client| ("client_id", client.id() as &dyn Display)));
    app.metrics.count_event("client_refused");
    security_event("client_refused", &fields);
    cause
}

/// Whether the credentials prove `client`. An unknown one costs the same: a hash of the secret and a comparison with another hash.
fn check(
    client: Option<&Client>,
    shown: &Credentials,
    now: UnixSeconds,
) -> Result<(), &'static str> {
    let secret = shown.secret.as_ref().map_or(&b""[..], |secret| secret.expose().as_bytes());
    let matches = match client {
        Some(client) if client.secret.is_some() => client.secret_matches(secret, now),
        Some(_) | None => SecretHash::of(b"nobody's secret").matches(secret) && secret.is_empty(),
    };
    let client = client.ok_or("the client is unknown or disabled")?;
    // "The client MUST NOT use more than one authentication method", and a weaker one than it is registered for is none of its own.
    if client.metadata.token_endpoint_auth_method != shown.method {
        return Err("the method is not the registered one");
    }
    match shown.method {
        AuthMethod::None => Ok(()),
        AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost if matches => Ok(()),
        AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => Err("the secret is wrong"),
    }
}

/// What the request shows: "The client MUST NOT use more than one authentication method in each request" (RFC 6749 section 2.3).
fn credentials(authorization: &Authorization, params: &Params) -> Result<Credentials, TokenError> {
    let assertion =
        params.get("client_assertion").or(params.get("client_assertion_type")).is_some();
    let secret = params.get("client_secret");
    match authorization {
        Authorization::Several => Err(TokenError::SeveralAuthentications),
        Authorization::One(_) if secret.is_some() || assertion => {
            Err(TokenError::SeveralAuthentications)
        }
        Authorization::Absent if secret.is_some() && assertion => {
            Err(TokenError::SeveralAuthentications)
        }
        Authorization::One(header) => {
            let (client_id, secret) = basic(header).ok_or(TokenError::ClientRefused {
                why: "the header Authorization is malformed",
                basic: true,
            })?;
            // A client_id in the body beside the header is no second method, but another name is a second identity.
            if params.get("client_id").is_some_and(|other| other != client_id) {
                return Err(TokenError::SeveralAuthentications);
            }
            let method = AuthMethod::ClientSecretBasic;
            Ok(Credentials { method, client_id, secret: Some(secret), basic: true })
        }
        Authorization::Absent if assertion => Err(TokenError::ClientRefused {
            why: "client assertions are not offered",
            basic: false,
        }),
        Authorization::Absent => {
            let missing = TokenError::ClientRefused {
                why: "the client does not say who it is",
                basic: false,
            };
            let client_id = params.get("client_id").ok_or(missing)?.to_owned();
            let method =
                if secret.is_some() { AuthMethod::ClientSecretPost } else { AuthMethod::None };
            Ok(Credentials {
                method,
                client_id,
                secret: secret.map(PlainSecret::new),
                basic: false,
            })
        }
    }
}

/// Identifier and secret of `Basic` credentials: "encoded using the "application/x-www-form-urlencoded" encoding algorithm per Appendix B,
/// and the encoded value is used as the username [and the] password" (RFC 6749 section 2.3.1).
fn basic(header: &[u8]) -> Option<(String, PlainSecret)> {
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    // `1*SP token68`: more blanks may follow, and nothing else.
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let text = STANDARD.decode(rest.get(spaces..)?).ok()?;
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (user, password) = text.split_at_checked(colon)?;
    let user = params::decode(user).ok()?;
    let password = params::decode(password.strip_prefix(b":")?).ok()?;
    (!user.is_empty()).then(|| (user, PlainSecret::new(password)))
}

#[cfg(test)]
mod tests;
