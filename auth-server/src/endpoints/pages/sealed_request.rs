//! The authorization request while a person signs in: sealed in the address of our own pages, in no row, so that anonymous requests
//! cannot fill the disk ([RFC 6749 section 4.1.1](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.1)).
//!
//! What is sealed is what was sent. Every step checks it again against what is registered then, so a client that was disabled or a
//! redirect URI that was removed meanwhile gets nothing.

use serde::{Deserialize, Serialize};
use shared_types::UnixSeconds;
use url::form_urlencoded::Serializer;

use super::cookies::Browser;
use crate::app::App;
use crate::domain::authorization_request::{
    AuthorizationRequest, AuthorizeError, PARAMETERS, Sent, ShowFault,
};
use crate::domain::registry::Registry;
use crate::params::Params;

const PURPOSE: &str = "authorization request";

/// A request on its way, with how far it has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// The parameters, form-urlencoded.
    #[serde(rename = "q")]
    query: String,
    /// The browser it is bound to.
    #[serde(rename = "b")]
    browser: String,
    /// The public id of the session that a sign-in through this very request began.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    signed_in: Option<String>,
    /// From this second on it is void.
    #[serde(rename = "e")]
    expires_at: UnixSeconds,
}

impl Pending {
    /// A request that has just arrived. Only the parameters that are read are kept.
    pub fn new(app: &App, params: &Params, browser: &Browser, now: UnixSeconds) -> Self {
        let mut query = Serializer::new(String::new());
        for name in PARAMETERS {
            for value in params.all(name) {
                query.append_pair(name, value);
            }
        }
        Self {
            query: query.finish(),
            browser: browser.tag(app),
            signed_in: None,
            expires_at: now.plus(app.settings.lifetimes.sign_in_request),
        }
    }

    /// What `sealed` holds; `None` if it is not ours or too old.
    pub fn open(app: &App, sealed: &str, now: UnixSeconds) -> Option<Self> {
        let bytes = app.vault.unseal(PURPOSE, b"", sealed)?;
        let pending: Self = serde_json::from_slice(&bytes).ok()?;
        (!now.has_reached(pending.expires_at)).then_some(pending)
    }

    /// The text for the address.
    pub fn seal(&self, app: &App) -> Option<String> {
        let bytes = serde_json::to_vec(self).ok()?;
        Some(app.vault.seal(PURPOSE, b"", &bytes, &*app.random))
    }

    /// Whether it was begun in this browser.
    pub fn is_of(&self, app: &App, browser: &Browser) -> bool {
        browser.has_tag(app, &self.browser)
    }

    /// The same request from its beginning in `browser`: what happened in another one counts for nothing here.
    pub fn begin_again(self, app: &App, browser: &Browser) -> Self {
        Self { browser: browser.tag(app), signed_in: None, ..self }
    }

    /// The same request after a person signed in through it.
    pub fn after_sign_in(self, sid: &str) -> Self {
        Self { signed_in: Some(sid.to_owned()), ..self }
    }

    /// The session that a sign-in through this very request began.
    pub fn signed_in(&self) -> Option<&str> {
        self.signed_in.as_deref()
    }

    /// Checks the request against what is registered now.
    pub fn check(&self, registry: &Registry) -> Result<AuthorizationRequest, AuthorizeError> {
        let params = Params::parse(self.query.as_bytes())
            .map_err(|_| AuthorizeError::Show(ShowFault::Unreadable))?;
        let get = |name: &str| params.get(name);
        AuthorizationRequest::parse(
            &Sent { get: &get, resources: params.all("resource").collect() },
            registry,
        )
    }
}
