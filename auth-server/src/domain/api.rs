//! An API: a resource server that tokens can be for ([RFC 8707](https://www.rfc-editor.org/rfc/rfc8707)).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared_types::{Audience, ClientId, Scope, ScopeToken, SigningAlg};

use super::display_text::is_plain_line;

/// The longest life of any token, in seconds: an API checks tokens on its own, so nobody can call one back earlier. What has to outlive
/// every token counts on it.
pub const MAX_TOKEN_LIFETIME: i64 = 86_400;

/// A resource server and what it demands of its tokens. Also the JSON document of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The resource indicator, and the `aud` of its tokens.
    pub identifier: Audience,
    /// Its name for people.
    pub name: String,
    /// Its scope tokens, each with a sentence for the consent page.
    pub scopes: BTreeMap<ScopeToken, String>,
    /// How long its tokens live, in seconds.
    pub access_token_lifetime: i64,
    /// With what they are signed.
    pub signing_alg: SigningAlg,
    /// Whether requests that name no resource are for it.
    pub default: bool,
    /// The clients that may introspect its tokens.
    pub introspected_by: Vec<ClientId>,
}

impl Api {
    /// All its scope tokens.
    pub fn scope(&self) -> Scope {
        self.scopes.keys().cloned().collect()
    }

    /// What is wrong with the texts that people read on the consent page.
    pub fn text_faults(&self) -> Vec<String> {
        let name = (!is_plain_line(&self.name)).then(|| "the name".to_owned());
        let sentences = self.scopes.iter().filter(|(_, sentence)| !is_plain_line(sentence));
        name.into_iter()
            .chain(sentences.map(|(token, _)| format!("the sentence of scope {token}")))
            .map(|text| format!("{text} is not one line of visible text"))
            .collect()
    }
}
