//! What is registered, as one immutable picture: a request works on the picture it began with.

use std::collections::HashMap;
use std::sync::Arc;

use shared_types::{ClientId, Scope};

use super::api::Api;
use super::client::Client;

/// All clients and APIs at one moment.
#[derive(Debug, Default)]
pub struct Registry {
    clients: HashMap<ClientId, Arc<Client>>,
    apis: Vec<Arc<Api>>,
    /// The epoch that the picture was read at.
    pub epoch: i64,
}

impl Registry {
    /// The picture of `clients` and `apis`.
    pub fn new(clients: Vec<Client>, apis: Vec<Api>, epoch: i64) -> Self {
        let clients =
            clients.into_iter().map(|client| (client.id().clone(), Arc::new(client))).collect();
        Self { clients, apis: apis.into_iter().map(Arc::new).collect(), epoch }
    }

    /// The enabled client of that identifier. A disabled one is as good as unknown.
    pub fn client(&self, id: &ClientId) -> Option<&Arc<Client>> {
        self.clients.get(id).filter(|client| client.enabled)
    }

    /// Every client, disabled ones too.
    pub fn clients(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.clients.values()
    }

    /// The API of requests that name no resource.
    pub fn default_api(&self) -> Option<&Arc<Api>> {
        self.apis.iter().find(|api| api.default)
    }

    /// The API that `resource` asks for: the one of exactly that identifier before one that equals it but for the slash of an
    /// empty path.
    pub fn api_requested(&self, resource: &str) -> Option<&Arc<Api>> {
        self.api(resource)
            .or_else(|| self.apis.iter().find(|api| api.identifier.is_requested_by(resource)))
    }

    /// The API with exactly that identifier.
    pub fn api(&self, identifier: &str) -> Option<&Arc<Api>> {
        self.apis.iter().find(|api| api.identifier.as_str() == identifier)
    }

    /// Every API.
    pub fn apis(&self) -> impl Iterator<Item = &Arc<Api>> {
        self.apis.iter()
    }

    /// Every scope token that any API knows.
    pub fn api_scopes(&self) -> Scope {
        self.apis.iter().flat_map(|api| api.scopes.keys().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use shared_types::{Audience, SigningAlg};

    use super::*;

    #[test]
    fn the_api_of_exactly_that_identifier_comes_first() {
        let (bare, slash) = ("https://api.example", "https://api.example/");
        let api = |identifier: &str| Api {
            identifier: Audience::parse(identifier).unwrap(),
            name: String::new(),
            scopes: std::collections::BTreeMap::new(),
            access_token_lifetime: 300,
            signing_alg: SigningAlg::Es256,
            default: false,
            introspected_by: Vec::new(),
        };
        let found = |apis: &[&str], requested| {
            let apis = apis.iter().map(|identifier| api(identifier)).collect();
            let registry = Registry::new(Vec::new(), apis, 0);
            registry.api_requested(requested).map(|api| api.identifier.to_string())
        };
        for order in [[bare, slash], [slash, bare]] {
            assert_eq!(found(&order, bare).as_deref(), Some(bare));
            assert_eq!(found(&order, slash).as_deref(), Some(slash));
        }
        assert_eq!(found(&[bare], slash).as_deref(), Some(bare));
        assert_eq!(found(&[slash], bare).as_deref(), Some(slash));
        assert_eq!(found(&[bare, slash], "https://api.example//"), None);
    }
}
