//! What is answered when a page cannot read what it needs: a page of ours; or, where the request allows none and client and redirect URI
//! are proven, an error to the client ([OpenID Connect Core section 3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)).

use std::sync::Arc;

use actix_web::HttpResponse;

use super::sealed_request::Pending;
use super::{page, reply};
use crate::app::App;
use crate::domain::authorization_request::AuthorizeError;
use crate::domain::registry::Registry;
use crate::error::PageFault;

/// Why a [`Visit`](super::progress::Visit) could not begin, and how far it came.
pub struct Outage {
    fault: PageFault,
    /// What is registered; `None` if that cannot be told: then no redirect URI is proven, and what was registered a while ago proves none.
    registry: Option<Arc<Registry>>,
}

impl Outage {
    /// Nobody can tell what is registered.
    pub fn of_registry(fault: impl Into<PageFault>) -> Self {
        Self { fault: fault.into(), registry: None }
    }

    /// Nobody can tell who is signed in.
    pub fn of_sessions(fault: PageFault, registry: Arc<Registry>) -> Self {
        Self { fault, registry: Some(registry) }
    }

    /// The answer where no authorization request is at stake.
    pub fn page(&self, app: &App) -> HttpResponse {
        page::fault(app, &self.fault)
    }

    /// The answer to an authorization request, if it can be read.
    pub fn answer(&self, app: &App, pending: Option<&Pending>) -> HttpResponse {
        let to_client = pending.and_then(|pending| self.to_client(app, pending));
        to_client.unwrap_or_else(|| self.page(app))
    }

    fn to_client(&self, app: &App, pending: &Pending) -> Option<HttpResponse> {
        let fault = self.fault.for_the_client()?;
        match pending.check(self.registry.as_ref()?) {
            Ok(request) if request.prompt.none => {
                log::error!(error = fault.code().as_str(); "{}", self.fault);
                reply::error(app, &request.client, &request.reply_to, fault).ok()
            }
            // Its own fault comes first, as it does when everything can be read.
            Err(AuthorizeError::Redirect { client, reply_to, fault }) => {
                reply::error(app, &client, &reply_to, fault).ok()
            }
            Ok(_) | Err(AuthorizeError::Show(_)) => None,
        }
    }
}
