//! The token endpoint ([RFC 6749 section 3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)): who asks, for which grant, and what it gets.
//!
//! Left out: CORS, since a browser that holds tokens is a browser that loses them.

use std::fmt::Display;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError as _, web};

use crate::app::App;
use crate::client_auth;
use crate::domain::client::Client;
use crate::error::{TokenError, no_store};
use crate::grants::{self, GrantContext, Request, TokenResponse};
use crate::log_format::security_event;
use crate::params::ClientRequest;

/// Where it is.
pub const PATH: &str = "/token";

/// Exchanges a grant for tokens. "The client MUST use the HTTP "POST" method when making access token requests."
pub async fn post(app: web::Data<App>, request: Result<ClientRequest, TokenError>) -> HttpResponse {
    let mut asked = Asked { grant_type: "unread", client: None };
    let outcome = exchange(&app, request, &mut asked).await;
    answer(&app, &asked, outcome)
}

/// What is known of a request when it is answered, for log and metrics.
struct Asked {
    grant_type: &'static str,
    /// Once it is authenticated.
    client: Option<Arc<Client>>,
}

async fn exchange(
    app: &App,
    request: Result<ClientRequest, TokenError>,
    asked: &mut Asked,
) -> Result<TokenResponse, TokenError> {
    let (request, now) = (request?, app.clock.now());
    asked.grant_type =
        grants::grant_type(&request.params).map_or("unknown", |grant| grant.as_str());
    let registry = app.registry().await?;
    let client = client_auth::authenticate(app, &registry, &request, now).await?;
    asked.client = Some(Arc::clone(&client));
    let grant_type = grants::grant_type(&request.params)?;
    if !client.may_use(grant_type) {
        return Err(TokenError::GrantNotAllowed);
    }
    let redeemable = Request::try_from(&request.params)?;
    grants::redeem(GrantContext { app, registry: &registry, client: &client, now }, redeemable)
        .await
}

/// The one place where an answer of this endpoint is made, for success and refusal alike.
fn answer(app: &App, asked: &Asked, outcome: Result<TokenResponse, TokenError>) -> HttpResponse {
    let grant_type = asked.grant_type;
    let mut fields: Vec<(&'static str, &dyn Display)> = vec![("grant_type", &grant_type)];
    fields.extend(asked.client.as_ref().map(|client| ("client_id", client.id() as &dyn Display)));
    match outcome {
        Ok(response) => {
            app.metrics.count_token(grant_type, "issued");
            fields.extend([("sub", &response.subject as &dyn Display), ("scope", &response.scope)]);
            security_event("token_issued", &fields);
            no_store(StatusCode::OK).json(response)
        }
        Err(cause) => {
            let code = cause.code().as_str();
            app.metrics.count_token(grant_type, "refused");
            app.metrics.count_refused(code);
            fields.push(("error", &code));
            security_event("token_refused", &fields);
            cause.error_response()
        }
    }
}
