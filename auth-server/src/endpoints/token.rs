//! The token endpoint ([RFC 6749 section 3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)): who asks, for which grant, and what it gets.
//!
//! Left out: CORS, since a browser that holds tokens is a browser that loses them.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError as _, web};

use crate::app::App;
use crate::client_auth;
use crate::error::{TokenError, no_store};
use crate::grants::{self, GrantContext, Request, TokenResponse};
use crate::log_format::security_event;
use crate::params::ClientRequest;

/// Where it is.
pub const PATH: &str = "/token";

/// Exchanges a grant for tokens. "The client MUST use the HTTP "POST" method when making access token requests."
pub async fn post(app: web::Data<App>, request: Result<ClientRequest, TokenError>) -> HttpResponse {
    let request = match request {
        Ok(request) => request,
        Err(fault) => return answer(&app, "unread", Err(fault)),
    };
    let label = grants::grant_type(&request.params).map_or("unknown", |grant| grant.as_str());
    let outcome = exchange(&app, &request).await;
    answer(&app, label, outcome)
}

async fn exchange(app: &App, request: &ClientRequest) -> Result<TokenResponse, TokenError> {
    let now = app.clock.now();
    let registry = app.registry().await?;
    let client = client_auth::authenticate(app, &registry, request, now).await?;
    let grant_type = grants::grant_type(&request.params)?;
    if !client.may_use(grant_type) {
        return Err(TokenError::GrantNotAllowed);
    }
    let redeemable = Request::try_from(&request.params)?;
    let response =
        grants::redeem(GrantContext { app, registry: &registry, client: &client, now }, redeemable)
            .await?;
    let grant_type = grant_type.as_str();
    security_event(
        "token_issued",
        &[("client_id", client.id()), ("grant_type", &grant_type), ("scope", &response.scope)],
    );
    Ok(response)
}

/// The one place where an answer of this endpoint is made, for success and refusal alike.
fn answer(
    app: &App,
    grant_type: &'static str,
    outcome: Result<TokenResponse, TokenError>,
) -> HttpResponse {
    match outcome {
        Ok(response) => {
            app.metrics.count_token(grant_type, "issued");
            no_store(StatusCode::OK).json(response)
        }
        Err(cause) => {
            let code = cause.code().as_str();
            app.metrics.count_token(grant_type, "refused");
            app.metrics.count_refused(code);
            security_event("token_refused", &[("grant_type", &grant_type), ("error", &code)]);
            cause.error_response()
        }
    }
}
