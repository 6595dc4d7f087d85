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

    /// The API that `resource` asks for.
    pub fn api_requested(&self, resource: &str) -> Option<&Arc<Api>> {
        self.apis.iter().find(|api| api.identifier.is_requested_by(resource))
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
