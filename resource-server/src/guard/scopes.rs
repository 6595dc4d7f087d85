//! What a route asks for, as a type: a handler that takes `Granted<ReadDocuments>` cannot run without it.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use futures_util::future::{Either, FutureExt as _, LocalBoxFuture};
use shared_types::AccessTokenClaims;

use super::Guard;
use super::bearer::{BearerError, Refusal, RefusedBecause, read_token};
use super::cache::WorkerCache;
use super::verify::{TokenFault, VerifiedToken};

/// A scope token that a route demands.
pub trait RequiredScope: 'static {
    /// The scope token, as it stands in the token's `scope`.
    const SCOPE: &'static str;
}

/// No scope in particular: any token that is valid here.
#[derive(Clone, Copy, Debug)]
pub struct AnyToken;

/// What may stand in [`Granted`]: a [`RequiredScope`] or [`AnyToken`].
pub trait Requirement: 'static {
    /// The scope token; `None` when any valid token will do.
    const NEEDED: Option<&'static str>;
}

impl<S: RequiredScope> Requirement for S {
    const NEEDED: Option<&'static str> = Some(S::SCOPE);
}

impl Requirement for AnyToken {
    const NEEDED: Option<&'static str> = None;
}

/// Proof that the request carries a valid token with the scope `S`.
#[derive(Clone, Debug)]
pub struct Granted<S> {
    token: VerifiedToken,
    scope: PhantomData<fn() -> S>,
}

impl<S> Granted<S> {
    /// What the token says.
    pub fn claims(&self) -> &AccessTokenClaims {
        self.token.claims()
    }

    /// The token itself.
    pub fn token(&self) -> &VerifiedToken {
        &self.token
    }
}

/// The guard in one worker: shared keys, a cache of its own.
#[derive(Debug)]
pub(super) struct WorkerGuard {
    pub(super) guard: Guard,
    pub(super) cache: WorkerCache,
}

impl WorkerGuard {
    /// Everything that can be decided without waiting.
    fn admit(&self, request: &HttpRequest) -> Result<VerifiedToken, BearerError> {
        let token = read_token(request)?;
        let inner = &self.guard.inner;
        let now = inner.clock.now();
        if let Some(verified) = self.cache.get(token, &inner.verifier, now) {
            return Ok(verified);
        }
        let verified = inner.verifier.verify(token, now)?;
        self.cache.put(token, verified.clone());
        Ok(verified)
    }

    /// Has the missing key fetched, then decides again.
    async fn admit_after_fetch(&self, request: &HttpRequest) -> Result<VerifiedToken, BearerError> {
        let inner = &self.guard.inner;
        inner.verifier.fetch_key_for(read_token(request)?, inner.clock.now()).await;
        self.admit(request)
    }

    fn answer<S: Requirement>(
        &self,
        request: &HttpRequest,
        admitted: Result<VerifiedToken, BearerError>,
    ) -> Result<Granted<S>, Refusal> {
        let granted = admitted.and_then(|token| match S::NEEDED {
            Some(scope) if !token.claims().scope.contains(scope) => {
                Err(BearerError::InsufficientScope(scope))
            }
            _ => Ok(Granted { token, scope: PhantomData }),
        });
        granted.map_err(|error| {
            request.extensions_mut().insert(RefusedBecause::of(&error));
            Refusal::new(error, self.guard.challenge())
        })
    }
}

/// Whether keys that we do not have could change the answer.
fn lacks_keys(error: &BearerError) -> bool {
    matches!(
        error,
        BearerError::KeysUnavailable | BearerError::InvalidToken(TokenFault::UnknownKey)
    )
}

impl<S: Requirement> FromRequest for Granted<S> {
    type Error = Refusal;
    type Future =
        Either<Ready<Result<Self, Refusal>>, LocalBoxFuture<'static, Result<Self, Refusal>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(worker) = request.app_data::<WorkerGuard>() else {
            log::error!("a route asks for a token, but no guard is mounted in this app");
            return Either::Left(ready(Err(Refusal::not_mounted())));
        };
        match worker.admit(request) {
            Err(error) if lacks_keys(&error) => {
                let request = request.clone();
                let wait = async move {
                    let worker =
                        request.app_data::<WorkerGuard>().ok_or_else(Refusal::not_mounted)?;
                    let admitted = worker.admit_after_fetch(&request).await;
                    worker.answer(&request, admitted)
                };
                Either::Right(wait.boxed_local())
            }
            admitted => Either::Left(ready(worker.answer(request, admitted))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};
    use shared_types::{Audience, Issuer, ManualClock};

    use super::super::verify::tests::{NOW, TestIssuer};
    use super::super::{Guard, GuardOptions};
    use super::*;

    struct ScopeA;
    impl RequiredScope for ScopeA {
        const SCOPE: &'static str = "a";
    }
    struct ScopeB;
    impl RequiredScope for ScopeB {
        const SCOPE: &'static str = "b";
    }

    async fn a(granted: Granted<ScopeA>) -> String {
        granted.claims().sub.to_string()
    }

    #[actix_web::test]
    async fn the_scope_is_checked_on_a_cached_token_too() {
        let issuer = TestIssuer::new("https://id.example");
        let resource = Audience::parse("https://api.example").unwrap();
        let options =
            GuardOptions::new(resource, vec![Issuer::parse("https://id.example").unwrap()]);
        let guard =
            Guard::with_sources(&options, Arc::new(ManualClock::new(NOW)), vec![issuer.trust()]);
        let app = App::new()
            .configure(guard.mount())
            .route("/a", web::get().to(a))
            .route("/b", web::get().to(|_: Granted<ScopeB>| HttpResponse::Ok()));
        let app = init_service(app).await;
        let bearer = format!("Bearer {}", issuer.token());
        for (path, status) in [("/a", 200), ("/a", 200), ("/b", 403), ("/a", 200)] {
            let request =
                TestRequest::with_uri(path).insert_header((AUTHORIZATION, bearer.as_str()));
            let response = call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), status, "{path}");
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            assert_eq!(challenge.is_some(), status == 403);
        }
        let bare = call_service(&app, TestRequest::with_uri("/a").to_request()).await;
        assert_eq!(bare.status(), 401);
    }

    #[actix_web::test]
    async fn an_app_without_a_guard_lets_nobody_in() {
        let app = init_service(App::new().route("/a", web::get().to(a))).await;
        let request = TestRequest::with_uri("/a").insert_header((AUTHORIZATION, "Bearer a.b.c"));
        assert_eq!(call_service(&app, request.to_request()).await.status(), 500);
    }
}
