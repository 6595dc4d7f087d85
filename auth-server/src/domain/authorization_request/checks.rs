//! The second half: everything that is checked once the answer has somewhere to go, in order.

use shared_types::Scope;

use super::{AuthorizationRequest, Prompt, RedirectFault, ResponseMode, Sent};
use crate::domain::audience::issuer_scope;
use crate::domain::client::GrantType;
use crate::domain::pkce::CodeChallenge;
use crate::domain::registry::Registry;

type Check = fn(&Sent<'_>, &Registry, &mut AuthorizationRequest) -> Result<(), RedirectFault>;

/// Each reads its own parameters and fills in its own fields. `response_mode` is the first: it says how a later fault travels.
pub(super) const IN_ORDER: [Check; 10] = [
    response_mode,
    no_request_objects,
    response_type,
    grant_type,
    free_texts,
    code_challenge,
    resources,
    scope,
    prompt,
    max_age,
];

/// The longest value of each free parameter, in bytes: together they still fit into one address line.
const LIMITS: [(&str, usize); 5] = [
    ("state", 2_048),
    ("nonce", 512),
    ("login_hint", 255),
    ("scope", 2_048),
    ("id_token_hint", 4_096),
];

/// The most resources of one request.
const MAX_RESOURCES: usize = 8;

fn response_mode(
    sent: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    if let Some(mode) = sent.get("response_mode") {
        let known = ResponseMode::ALL.into_iter().find(|known| known.as_str() == mode);
        request.reply_to.mode = known.ok_or(RedirectFault::ResponseMode)?;
    }
    Ok(())
}

/// "If the OP does not support [..] it MUST return an error" ([OpenID Connect Core section 6](https://openid.net/specs/openid-connect-core-1_0.html#JWTRequests)):
/// a client that signs its request must not be answered as if the signature had been read.
fn no_request_objects(
    sent: &Sent<'_>,
    _: &Registry,
    _: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    let refused = [
        ("request", RedirectFault::RequestObject),
        ("request_uri", RedirectFault::RequestUri),
        ("registration", RedirectFault::Registration),
    ];
    match refused.into_iter().find(|(name, _)| sent.get(name).is_some()) {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

fn response_type(
    sent: &Sent<'_>,
    _: &Registry,
    _: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    match sent.get("response_type") {
        None => Err(RedirectFault::ResponseTypeMissing),
        Some("code") => Ok(()),
        Some(_) => Err(RedirectFault::ResponseType),
    }
}

fn grant_type(
    _: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    if request.client.may_use(GrantType::AuthorizationCode) {
        Ok(())
    } else {
        Err(RedirectFault::GrantType)
    }
}

fn free_texts(
    sent: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    let too_long =
        |(name, limit): (&str, usize)| sent.get(name).is_some_and(|value| value.len() > limit);
    if LIMITS.into_iter().any(too_long) {
        return Err(RedirectFault::TooLong);
    }
    request.nonce = sent.get("nonce").map(str::to_owned);
    request.login_hint = sent.get("login_hint").map(str::to_owned);
    request.unverified_id_token_hint = sent.get("id_token_hint").map(str::to_owned);
    Ok(())
}

/// "Clients MUST use `code_challenge`" but for a confidential one that is excused
/// ([OAuth 2.1 section 7.5.1](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1#section-7.5.1)). An absent method means
/// `plain` ([RFC 7636 section 4.3](https://www.rfc-editor.org/rfc/rfc7636#section-4.3)), which is refused.
fn code_challenge(
    sent: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    // The excuse is for clients of OpenID Connect Basic, whose nonce does part of the work; a plain OAuth client has nothing instead.
    let openid =
        sent.get("scope").is_some_and(|scope| scope.split(' ').any(|token| token == "openid"));
    let excused = openid && !request.client.is_public() && !request.client.metadata.require_pkce;
    request.code_challenge = match (sent.get("code_challenge"), sent.get("code_challenge_method")) {
        (None, None) if excused => None,
        (None, _) => return Err(RedirectFault::ChallengeMissing),
        (Some(challenge), Some("S256")) => {
            Some(CodeChallenge::parse(challenge).ok_or(RedirectFault::ChallengeMalformed)?)
        }
        (Some(_), _) => return Err(RedirectFault::ChallengeMethod),
    };
    Ok(())
}

/// "If the authorization server fails to parse the provided value(s) or does not consider the resource(s) acceptable, it should reject
/// the request" ([RFC 8707 section 2](https://www.rfc-editor.org/rfc/rfc8707#section-2)). Kept as registered, once each.
fn resources(
    sent: &Sent<'_>,
    registry: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    if sent.resources.len() > MAX_RESOURCES {
        return Err(RedirectFault::TooManyResources);
    }
    for resource in &sent.resources {
        let api = registry.api_requested(resource).ok_or(RedirectFault::Resource)?;
        let identifier = api.identifier.as_str().to_owned();
        if !request.resources.contains(&identifier) {
            request.resources.push(identifier);
        }
    }
    Ok(())
}

/// Narrows what was asked for to what the client is registered for and somebody here knows; with resources, to those.
///
/// "The authorization server MAY fully or partially ignore the scope requested by the client"
/// ([RFC 6749 section 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)); the token's answer says what was granted. Without a scope
/// it is what the client is registered for, but for `offline_access`, which a person should not give unasked.
fn scope(
    sent: &Sent<'_>,
    registry: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    let registered = &request.client.metadata.scope;
    let asked = match sent.get("scope") {
        Some(text) => Scope::parse(text).map_err(|_| RedirectFault::ScopeMalformed)?,
        None => registered.clone().without("offline_access"),
    };
    let of_apis: Scope = if request.resources.is_empty() {
        registry.api_scopes()
    } else {
        let named = request.resources.iter().filter_map(|resource| registry.api(resource));
        named.flat_map(|api| api.scopes.keys().cloned()).collect()
    };
    let mut scope = asked.intersection(registered).intersection(&of_apis.union(&issuer_scope()));
    // "The OP MUST ignore the offline_access request unless [..] the Client is [..] using a response_type value that would result
    // in an Authorization Code" (Core section 11), and unless it could use what it gets.
    if !request.client.may_use(GrantType::RefreshToken) {
        scope = scope.without("offline_access");
    }
    if scope.is_empty() {
        return Err(RedirectFault::ScopeEmpty);
    }
    // A token for the resource would be empty: better said now than after the person was asked.
    if !request.resources.is_empty() && scope.intersection(&of_apis).is_empty() {
        return Err(RedirectFault::ResourceWithoutScope);
    }
    request.scope = scope;
    Ok(())
}

/// "If this parameter contains none with any other value, an error is returned" (Core section 3.1.2.1).
fn prompt(
    sent: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    let mut prompt = Prompt::default();
    for value in sent.get("prompt").unwrap_or_default().split(' ').filter(|value| !value.is_empty())
    {
        match value {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            _ => return Err(RedirectFault::Prompt),
        }
    }
    if prompt.none && prompt != (Prompt { none: true, ..Prompt::default() }) {
        return Err(RedirectFault::Prompt);
    }
    request.prompt = prompt;
    Ok(())
}

fn max_age(
    sent: &Sent<'_>,
    _: &Registry,
    request: &mut AuthorizationRequest,
) -> Result<(), RedirectFault> {
    if let Some(text) = sent.get("max_age") {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = text.parse::<i64>().ok().filter(|_| digits);
        request.max_age = Some(seconds.ok_or(RedirectFault::MaxAge)?);
    }
    Ok(())
}
