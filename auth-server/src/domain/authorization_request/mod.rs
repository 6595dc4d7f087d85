//! The authorization request: one ordered list of checks in two halves.
//!
//! Until client and redirect URI are proven a fault is a page ([`AuthorizeError::Show`]), because a redirect would make us an open
//! redirector ([RFC 9700 section 4.11](https://www.rfc-editor.org/rfc/rfc9700#section-4.11)). From then on it goes to the client
//! ([`AuthorizeError::Redirect`], [RFC 6749 section 4.1.2.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1)). Which of the
//! two is a type, not a flag.

mod checks;
mod fault;

use std::sync::Arc;

use shared_types::{ClientId, Scope, ScopeToken, Subject, UnixSeconds};

use super::client::Client;
use super::pkce::CodeChallenge;
use super::redirect_uri;
use super::registry::Registry;

pub use fault::{AuthorizeError, RedirectFault, ShowFault};

/// Scopes of OpenID Connect itself, each with the sentence that the consent page shows
/// ([Core section 5.4](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims) and
/// [section 11](https://openid.net/specs/openid-connect-core-1_0.html#OfflineAccess)).
const SENTENCES: [(&str, &str); 6] = [
    ("openid", "Know who you are here"),
    ("profile", "See your name and profile"),
    ("email", "See your email address"),
    ("address", "See your postal address"),
    ("phone", "See your phone number"),
    ("offline_access", "Keep this access while you are away"),
];

/// Seconds in which a person who was made to sign in again may go on with the same request, for example on the consent page.
const GO_ON: i64 = 300;

/// The parameters as they were sent, looked up by name; an empty value is an absent one.
pub struct Sent<'a> {
    /// The value of a parameter.
    pub get: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Every value of `resource`, the one parameter that may be repeated
    /// ([RFC 8707 section 2](https://www.rfc-editor.org/rfc/rfc8707#section-2)).
    pub resources: Vec<&'a str>,
}

impl<'a> Sent<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        (self.get)(name)
    }
}

/// The parameters that are read; everything else "MUST be ignored" (RFC 6749 section 3.1), `claims` among it.
pub const PARAMETERS: [&str; 17] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "resource",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "id_token_hint",
    "request",
    "request_uri",
    "registration",
];

/// How the answer travels ([OAuth 2.0 Multiple Response Types section 2.1](https://openid.net/specs/oauth-v2-multiple-response-types-1_0.html#ResponseModes)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseMode {
    /// In the query of the redirect.
    #[default]
    Query,
    /// In a form that the browser posts ([Form Post Response Mode](https://openid.net/specs/oauth-v2-form-post-response-mode-1_0.html)).
    FormPost,
}

impl ResponseMode {
    /// Every mode that is built.
    pub const ALL: [Self; 2] = [Self::Query, Self::FormPost];

    /// The value of `response_mode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
        }
    }
}

/// A proven place for the answer. Only the first half of the checks makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// A registered redirect URI, as it was sent.
    pub redirect_uri: String,
    /// How to get there.
    pub mode: ResponseMode,
    /// "The exact value received from the client."
    pub state: Option<String>,
}

/// What the client wants the person to see ([OpenID Connect Core section 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of four independent values, each named by the specification"
)]
pub struct Prompt {
    /// No page at all.
    pub none: bool,
    /// Sign in again.
    pub login: bool,
    /// Ask for consent again.
    pub consent: bool,
    /// Let the person choose an account.
    pub select_account: bool,
}

/// A checked request.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client: Arc<Client>,
    /// Where the answer goes.
    pub reply_to: ReplyTo,
    /// Whether the request named the redirect URI; then the token request must too.
    pub redirect_uri_sent: bool,
    /// PKCE; absent only for a confidential client that is excused.
    pub code_challenge: Option<CodeChallenge>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// What is asked for, within what the client may have: never empty.
    pub scope: Scope,
    /// The registered identifiers of the resources that were named.
    pub resources: Vec<String>,
    /// What the person has to see.
    pub prompt: Prompt,
    /// The oldest sign-in that counts, in seconds.
    pub max_age: Option<i64>,
    /// The user name to begin with.
    pub login_hint: Option<String>,
    /// An ID token of ours, unproven.
    pub unverified_id_token_hint: Option<String>,
}

/// What a browser session says about its person, as far as a request cares.
#[derive(Clone, Copy, Debug)]
pub struct SignedIn<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// The session's public id.
    pub sid: &'a str,
    /// Since when.
    pub auth_time: UnixSeconds,
}

impl AuthorizationRequest {
    /// Checks what was sent against what is registered. Half one proves client and redirect URI; half two is the table in `checks`.
    pub fn parse(sent: &Sent<'_>, registry: &Registry) -> Result<Self, AuthorizeError> {
        let client = client(sent, registry).map_err(AuthorizeError::Show)?;
        let (redirect_uri, redirect_uri_sent) =
            redirect_uri(sent, &client).map_err(AuthorizeError::Show)?;
        let mut request = Self {
            reply_to: ReplyTo {
                redirect_uri,
                mode: ResponseMode::default(),
                state: sent.get("state").map(str::to_owned),
            },
            redirect_uri_sent,
            code_challenge: None,
            nonce: None,
            scope: Scope::default(),
            resources: Vec::new(),
            prompt: Prompt::default(),
            max_age: client.metadata.default_max_age,
            login_hint: None,
            unverified_id_token_hint: None,
            client,
        };
        for check in checks::IN_ORDER {
            check(sent, registry, &mut request).map_err(|fault| AuthorizeError::Redirect {
                client: request.client.clone(),
                reply_to: request.reply_to.clone(),
                fault,
            })?;
        }
        Ok(request)
    }

    /// Whether this person has to sign in (again) before the request goes on.
    ///
    /// `signed_in_here` is the session that a sign-in through this very request began: only that satisfies `prompt=login`,
    /// `select_account` and a `max_age` that has passed, so a replayed address of ours satisfies nothing. And only for as long as a
    /// person may need to go on from there: later the address that stands in the browser's history is a replayed one too.
    pub fn needs_sign_in(
        &self,
        session: Option<&SignedIn<'_>>,
        signed_in_here: Option<&str>,
        now: UnixSeconds,
    ) -> bool {
        let Some(session) = session else { return true };
        let age = now.since(session.auth_time);
        let must_be_new = self.prompt.login || self.prompt.select_account;
        let may_go_on = self.max_age.filter(|_| !must_be_new).unwrap_or_default().max(GO_ON);
        if signed_in_here == Some(session.sid) && age <= may_go_on {
            return false;
        }
        // "max_age=0 [..] is equivalent to prompt=login"; else "elapsed time [..] greater than this value".
        let too_old = self.max_age.is_some_and(|max_age| max_age == 0 || age > max_age);
        must_be_new || too_old
    }
}

/// The sentence for a scope token on the consent page: OpenID Connect's, the API's, or the token itself.
pub fn describe_scope(registry: &Registry, token: &ScopeToken) -> String {
    let standard = SENTENCES.iter().find(|(name, _)| *name == token.as_str());
    let of_api = || registry.apis().find_map(|api| api.scopes.get(token));
    match standard {
        Some((_, sentence)) => (*sentence).to_owned(),
        None => of_api().map_or_else(|| token.to_string(), String::clone),
    }
}

/// "The authorization server MUST NOT redirect" when the client is missing or unknown (RFC 6749 section 4.1.2.1).
fn client(sent: &Sent<'_>, registry: &Registry) -> Result<Arc<Client>, ShowFault> {
    let id = sent.get("client_id").ok_or(ShowFault::ClientMissing)?;
    let id = ClientId::parse(id).map_err(|_| ShowFault::ClientUnknown)?;
    registry.client(&id).cloned().ok_or(ShowFault::ClientUnknown)
}

/// The redirect URI, and whether it was sent. It may be left out if exactly one is registered
/// ([OAuth 2.1 section 2.3.3](https://datatracker.ietf.org/doc/html/draft-ietf-oauth-v2-1#section-2.3.3)), but not in an OpenID
/// request, where it is REQUIRED ([Core section 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
fn redirect_uri(sent: &Sent<'_>, client: &Client) -> Result<(String, bool), ShowFault> {
    let registered = &client.metadata.redirect_uris;
    let Some(uri) = sent.get("redirect_uri") else {
        let is_openid =
            sent.get("scope").is_some_and(|scope| scope.split(' ').any(|token| token == "openid"));
        return match registered.as_slice() {
            [only] if !is_openid => Ok((only.clone(), false)),
            _ => Err(ShowFault::RedirectUriMissing),
        };
    };
    // "The authorization server MUST compare [..] using exact string matching" (RFC 9700 section 2.1).
    let known = uri.len() <= redirect_uri::MAX_LENGTH
        && registered.iter().any(|registered| redirect_uri::matches(registered, uri));
    if known { Ok((uri.to_owned(), true)) } else { Err(ShowFault::RedirectUriUnknown) }
}

#[cfg(test)]
mod tests;
