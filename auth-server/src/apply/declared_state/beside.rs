//! Declared state held against what is registered already and stays, and against itself.

use std::collections::BTreeSet;

use shared_types::{ClientId, Scope};

use super::DeclaredState;
use crate::domain::api::Api;
use crate::domain::audience::ISSUER_SCOPES;
use crate::domain::client::AuthMethod;

/// What is registered already and stays: a file may refer to it.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// The APIs.
    pub apis: Vec<Api>,
    /// The clients.
    pub clients: BTreeSet<ClientId>,
}

/// What of `state` does not fit what is registered already and stays.
pub fn faults_beside(state: &DeclaredState, registered: &Registered) -> Vec<String> {
    let declared = |api: &Api| state.apis.iter().any(|other| other.identifier == api.identifier);
    let staying = registered.apis.iter().filter(|api| !declared(api));
    // What stays comes first: of two that clash the later one is named, and only the file can be mended.
    let apis: Vec<&Api> = staying.chain(&state.apis).collect();
    let mut faults = clashes(&apis);
    let known: Scope = apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect();
    for client in &state.clients {
        let unknown = client.metadata.scope.difference(&known);
        for token in unknown.iter().filter(|token| !ISSUER_SCOPES.contains(&token.as_str())) {
            faults.push(format!(
                "client {:?}: no api has the scope {token}",
                client.metadata.client_id.as_str()
            ));
        }
    }
    for api in &state.apis {
        for id in &api.introspected_by {
            let declared = state.clients.iter().find(|client| client.metadata.client_id == *id);
            if declared.is_none() && !registered.clients.contains(id) {
                faults.push(format!(
                    "api {:?}: introspected_by names an unknown client {id}",
                    api.identifier.as_str()
                ));
            }
            if declared.is_some_and(|client| {
                client.metadata.token_endpoint_auth_method == AuthMethod::None
            }) {
                faults.push(format!(
                    "api {:?}: {id} cannot introspect, it does not authenticate",
                    api.identifier.as_str()
                ));
            }
        }
    }
    faults
}

/// What no two APIs may share. A scope token in two of them would let a token for one be used up for the other, and the consent page
/// could not say for which it asks; identifiers that differ by a final slash cannot be told apart by clients.
fn clashes(apis: &[&Api]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, api) in apis.iter().enumerate() {
        for other in apis.iter().skip(index + 1) {
            let (one, two) = (api.identifier.as_str(), other.identifier.as_str());
            if api.identifier.is_requested_by(two) || other.identifier.is_requested_by(one) {
                faults.push(format!("api {two:?}: {one:?} is the same resource"));
            }
            if api.default && other.default {
                faults.push(format!("api {two:?}: {one:?} has default = true already"));
            }
            for token in api.scopes.keys().filter(|token| other.scopes.contains_key(*token)) {
                faults.push(format!("api {two:?}: the scope {token} belongs to {one:?}"));
            }
        }
    }
    faults
}
