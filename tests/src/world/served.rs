//! A server of a world with the place of its rows: whoever lets go of it stops it.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;

use crate::background;
use crate::engine::Store;

/// What runs until it is stopped.
pub trait Stop: Send + 'static {
    /// Ends it as SIGTERM would.
    fn stop(self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Stop for auth_server::Running {
    fn stop(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.stop())
    }
}

impl Stop for resource_server::Running {
    fn stop(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.stop())
    }
}

/// A running server; stopped in the background when dropped, its rows gone with it.
#[derive(Debug)]
pub struct Served<S: Stop> {
    server: Option<S>,
    store: Option<Store>,
}

impl<S: Stop> Served<S> {
    /// Takes charge of a server and its rows.
    pub fn new(server: S, store: Store) -> Self {
        Self { server: Some(server), store: Some(store) }
    }

    /// Stops it and gives its rows to whoever goes on with them.
    pub async fn end(mut self) -> Store {
        let server = self.server.take().expect("it runs");
        background::run(server.stop()).await;
        self.store.take().expect("it is there as long as the server")
    }

    /// Stops it; its rows are gone.
    pub async fn stop(self) {
        drop(self.end().await);
    }
}

impl<S: Stop> Deref for Served<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.server.as_ref().expect("it runs")
    }
}

impl<S: Stop> Drop for Served<S> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            background::start(server.stop());
        }
    }
}
