//! Token introspection ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)): what a token is worth at this moment.
//!
//! A token is shown to its own client, and an access token to the clients that an API in its `aud` names (`introspected_by`). For
//! everybody else it is `{"active":false}`, like a token that never was. Left out: signed answers ([RFC 9701](https://www.rfc-editor.org/rfc/rfc9701)).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use shared_types::{
    AccessTokenClaims, Audiences, ClientId, Issuer, JwtId, Scope, Subject, UnixSeconds,
};

use crate::app::App;
use crate::client_auth;
use crate::domain::client::Client;
use crate::domain::grant::{Grant, Presented};
use crate::domain::registry::Registry;
use crate::error::{TokenError, no_store};
use crate::grants::issued;
use crate::params::ClientRequest;

/// Where it is.
pub const PATH: &str = "/introspect";

/// Says what a token is worth. "the authorization server MUST [..] require some form of authorization to access this endpoint"
/// (RFC 7662 section 2.1): clients that can keep no secret have none.
pub async fn post(
    app: web::Data<App>,
    request: Result<ClientRequest, TokenError>,
) -> Result<HttpResponse, TokenError> {
    introspect(&app, request).await.map_err(|cause| cause.counted(&app.metrics))
}

async fn introspect(
    app: &App,
    request: Result<ClientRequest, TokenError>,
) -> Result<HttpResponse, TokenError> {
    let (request, now) = (request?, app.clock.now());
    let registry = app.registry().await?;
    let caller = client_auth::authenticate_confidential(app, &registry, &request, now).await?;
    let token = request.params.get("token").ok_or(TokenError::Missing("token"))?;
    // The two kinds cannot be mistaken for each other, so `token_type_hint` has nothing to add.
    if token.contains('.') {
        let token = issued::live_access_token(app, &registry, token, now).await?;
        let shown = token.as_ref().filter(|token| may_see(&caller, &token.claims, &registry));
        Ok(answer(shown.map(|token| Introspection::of_access_token(&token.claims))))
    } else {
        let genuine = issued::genuine_refresh_token(app, token, now).await?;
        Ok(answer(genuine.as_ref().and_then(|(grant, generation)| {
            Introspection::of_refresh_token(app, &caller, grant, *generation, now)
        })))
    }
}

/// What may be shown; of everything else only that it is not active.
fn answer(shown: Option<Introspection<'_>>) -> HttpResponse {
    no_store(StatusCode::OK).json(shown.unwrap_or_default())
}

/// The members of [RFC 7662 section 2.2](https://www.rfc-editor.org/rfc/rfc7662#section-2.2).
#[derive(Debug, Default, Serialize)]
struct Introspection<'a> {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a ClientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a Audiences>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a Issuer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a JwtId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<UnixSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
}

impl<'a> Introspection<'a> {
    fn of_access_token(claims: &'a AccessTokenClaims) -> Self {
        Self {
            active: true,
            scope: Some(&claims.scope).filter(|scope| !scope.is_empty()),
            client_id: Some(&claims.client_id),
            token_type: Some("Bearer"),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            nbf: claims.nbf,
            sub: Some(&claims.sub),
            aud: Some(&claims.aud),
            iss: Some(&claims.iss),
            jti: Some(&claims.jti),
            auth_time: claims.auth_time,
            acr: claims.acr.as_deref(),
        }
    }

    /// Only the current token of a live family, and only for its own client.
    fn of_refresh_token(
        app: &'a App,
        caller: &Client,
        grant: &'a Grant,
        generation: u32,
        now: UnixSeconds,
    ) -> Option<Self> {
        let idle_end = grant.rotated_at.plus(app.settings.lifetimes.refresh_idle);
        let parties = &grant.new.parties;
        let counts = parties.client_id == *caller.id()
            && grant.is_live(now)
            && !now.has_reached(idle_end)
            && grant.presented(generation, 0, now) == Presented::Current;
        counts.then(|| Self {
            active: true,
            scope: Some(&grant.new.scope),
            client_id: Some(&parties.client_id),
            exp: Some(idle_end.min(grant.new.expires_at)),
            iat: Some(grant.rotated_at),
            sub: Some(&parties.subject),
            iss: Some(&app.settings.issuer),
            auth_time: Some(parties.auth_time),
            acr: Some(&parties.acr),
            ..Self::default()
        })
    }
}

/// Its own client, and whoever an API in its audience names.
fn may_see(caller: &Client, claims: &AccessTokenClaims, registry: &Registry) -> bool {
    claims.client_id == *caller.id()
        || claims
            .aud
            .iter()
            .filter_map(|audience| registry.api(audience))
            .any(|api| api.introspected_by.contains(caller.id()))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::{Value, json};

    use super::*;
    use crate::grants::tests::World;
    use crate::params::{Authorization, Params};

    async fn ask(world: &World, caller: &str, token: &str) -> Result<Value, TokenError> {
        let basic = |name: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{name}")));
        let (authorization, form) = match caller {
            "web" => (Authorization::Absent, format!("client_id=web&token={token}")),
            "documents-rs" => {
                let secret = "client_id=documents-rs&client_secret=documents-rs";
                (Authorization::Absent, format!("{secret}&token={token}"))
            }
            name => (Authorization::One(basic(name).into()), format!("token={token}")),
        };
        let params = Params::parse(form.as_bytes()).unwrap();
        let request =
            ClientRequest { params, authorization, address: "127.0.0.1".parse().unwrap() };
        let response = post(web::Data::from(world.app.clone()), Ok(request)).await?;
        assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
        Ok(serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap())
    }

    async fn tokens_of_keeper(world: &World) -> (String, String) {
        let code =
            world.code(|new| new.parties.client_id = ClientId::parse("keeper").unwrap()).await;
        let response = world.redeem_as("keeper", &code).await.unwrap();
        let refresh = response.refresh_token.unwrap();
        (response.access_token.expose().to_owned(), refresh.expose().to_owned())
    }

    #[actix_web::test]
    async fn an_access_token_is_shown_to_its_client_and_to_whom_its_api_names() {
        let world = World::new().await;
        let (access, _) = tokens_of_keeper(&world).await;
        for caller in ["keeper", "documents-rs"] {
            let shown = ask(&world, caller, &access).await.unwrap();
            assert_eq!(
                (&shown["active"], &shown["client_id"]),
                (&json!(true), &json!("keeper")),
                "{caller}"
            );
            assert_eq!(
                (&shown["sub"], &shown["token_type"]),
                (&json!("acct_alice"), &json!("Bearer"))
            );
        }
        assert_eq!(ask(&world, "stranger", &access).await.unwrap(), json!({ "active": false }));
    }

    #[actix_web::test]
    async fn a_refresh_token_is_shown_to_its_own_client_only() {
        let world = World::new().await;
        let (_, refresh) = tokens_of_keeper(&world).await;
        assert_eq!(ask(&world, "keeper", &refresh).await.unwrap()["active"], json!(true));
        for caller in ["documents-rs", "stranger"] {
            assert_eq!(
                ask(&world, caller, &refresh).await.unwrap(),
                json!({ "active": false }),
                "{caller}"
            );
        }
    }

    #[actix_web::test]
    async fn what_never_was_a_token_is_inactive_and_a_public_client_learns_nothing() {
        let world = World::new().await;
        for text in ["x", "a.b.c", "%2E%2E"] {
            assert_eq!(ask(&world, "keeper", text).await.unwrap(), json!({ "active": false }));
        }
        let refused = ask(&world, "web", "x").await;
        assert!(matches!(refused, Err(TokenError::ClientRefused { basic: false, .. })));
    }
}
