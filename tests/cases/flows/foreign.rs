//! Flows through client libraries that we did not write: what they refuse, somebody's application refuses.

use oauth2::basic::{BasicClient, BasicTokenType};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    HttpRequest, HttpResponse, IntrospectionUrl, PkceCodeChallenge, RedirectUrl, RevocationUrl,
    Scope, StandardTokenResponse, TokenIntrospectionResponse as _, TokenResponse as _, TokenUrl,
};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims,
};
use openidconnect::{AccessTokenHash, IssuerUrl, Nonce, TokenResponse as _};
use tests::browser::Browser;
use tests::client::sign_in;
use tests::http::Http;
use tests::world::{ALICE, NATIVE_CALLBACK, SECRET, WEB_CALLBACK, World};

/// What carries the libraries' requests. `oauth2` revokes over https only, which our server on loopback does not speak.
async fn carry(http: Http, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let mut request = reqwest::Request::try_from(request)?;
    request.url_mut().set_scheme("http").unwrap();
    let answer = http.into_inner().execute(request).await?;
    let mut response = oauth2::http::Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let body = answer.bytes().await?.to_vec();
    Ok(response.body(body).expect("an answer is a response"))
}

#[tokio::test]
async fn openidconnect_goes_the_whole_way() {
    let world = World::start().await;
    let http = Http::new();
    let carry = |request| carry(http.clone(), request);
    let issuer = IssuerUrl::new(world.auth.issuer.clone()).unwrap();
    // Discovery compares the issuer and fetches the key set.
    let metadata = CoreProviderMetadata::discover_async(issuer, &carry).await.unwrap();
    let secret = Some(ClientSecret::new(SECRET.to_owned()));
    let id = ClientId::new("web".to_owned());
    let callback = RedirectUrl::new(WEB_CALLBACK.to_owned()).unwrap();
    let client =
        CoreClient::from_provider_metadata(metadata, id, secret).set_redirect_uri(callback);

    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let (url, state, nonce) = client
        .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".to_owned()))
        .add_scope(Scope::new("email".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let page = sign_in(&mut Browser::new(), url.as_str(), ALICE.0, ALICE.1).await;
    assert_eq!(page.location_param("state"), *state.secret());
    let code = AuthorizationCode::new(page.location_param("code"));
    let exchange = client.exchange_code(code).unwrap().set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&carry).await.unwrap();

    // The library holds the time against its own clock, unless it is given ours.
    let clock = world.clock.clone();
    let now = move || {
        let seconds = shared_types::Clock::now(&*clock).as_i64();
        (std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs())).into()
    };
    let verifier = client.id_token_verifier().set_time_fn(now);
    let id_token = tokens.id_token().expect("an ID token");
    let claims = id_token.claims(&verifier, &nonce).expect("signature, iss, aud, exp, nonce");
    let algorithm = id_token.signing_alg().unwrap();
    let key = id_token.signing_key(&verifier).unwrap();
    let hash = AccessTokenHash::from_token(tokens.access_token(), algorithm, key).unwrap();
    assert_eq!(claims.access_token_hash(), Some(&hash));

    // With the expected subject the library compares it with the answer's.
    let subject = Some(claims.subject().clone());
    let request = client.user_info(tokens.access_token().clone(), subject).unwrap();
    let person: CoreUserInfoClaims = request.request_async(&carry).await.unwrap();
    assert_eq!(person.email().unwrap().as_str(), "alice@example.com");
    assert_eq!(person.email_verified(), Some(true));
    let name = person.name().unwrap().get(None).unwrap();
    assert_eq!(name.as_str(), "Alice Example");

    let refresh = tokens.refresh_token().expect("a refresh token").clone();
    let next =
        client.exchange_refresh_token(&refresh).unwrap().request_async(&carry).await.unwrap();
    assert_ne!(next.refresh_token().unwrap().secret(), refresh.secret());
}

#[tokio::test]
async fn oauth2_uses_every_endpoint_for_clients() {
    let world = World::start().await;
    let http = Http::new();
    let carry = |request| carry(http.clone(), request);
    let at = |path: &str| format!("{}{path}", world.auth.issuer);
    let web = BasicClient::new(ClientId::new("web".to_owned()))
        .set_client_secret(ClientSecret::new(SECRET.to_owned()))
        .set_auth_uri(AuthUrl::new(at("/authorize")).unwrap())
        .set_token_uri(TokenUrl::new(at("/token")).unwrap())
        .set_introspection_url(IntrospectionUrl::new(at("/introspect")).unwrap())
        .set_revocation_url(RevocationUrl::new(at("/revoke").replace("http:", "https:")).unwrap())
        .set_redirect_uri(RedirectUrl::new(WEB_CALLBACK.to_owned()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = web
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("documents:read".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let page = sign_in(&mut Browser::new(), url.as_str(), ALICE.0, ALICE.1).await;
    assert_eq!(page.location_param("state"), *state.secret());
    let code = AuthorizationCode::new(page.location_param("code"));
    let first =
        web.exchange_code(code).set_pkce_verifier(verifier).request_async(&carry).await.unwrap();
    let granted: Vec<_> = first.scopes().unwrap().iter().map(|scope| scope.to_string()).collect();
    assert_eq!(granted, ["documents:read"]);
    assert_eq!(world.documents(first.access_token().secret()).list("").await.status, 200);

    let told = web.introspect(first.access_token()).request_async(&carry).await.unwrap();
    assert!(told.active());
    assert_eq!(told.client_id().unwrap().as_str(), "web");
    let refresh = first.refresh_token().unwrap();
    let second: StandardTokenResponse<EmptyExtraTokenFields, BasicTokenType> =
        web.exchange_refresh_token(refresh).request_async(&carry).await.unwrap();
    let given_back = second.refresh_token().unwrap().clone().into();
    web.revoke_token(given_back).unwrap().request_async(&carry).await.unwrap();
    let told = web.introspect(second.access_token()).request_async(&carry).await.unwrap();
    assert!(!told.active(), "its grant has ended");

    let garbage = oauth2::RefreshToken::new("garbage".to_owned());
    let refusal = web.exchange_refresh_token(&garbage).request_async(&carry).await.unwrap_err();
    let oauth2::RequestTokenError::ServerResponse(body) = refusal else { panic!("{refusal}") };
    assert_eq!(body.error().as_ref(), "invalid_grant");
}

#[tokio::test]
async fn oauth2_gets_a_token_for_a_client_itself() {
    let world = World::start().await;
    let http = Http::new();
    let carry = |request| carry(http.clone(), request);
    let machine = BasicClient::new(ClientId::new("machine".to_owned()))
        .set_client_secret(ClientSecret::new(SECRET.to_owned()))
        .set_token_uri(TokenUrl::new(format!("{}/token", world.auth.issuer)).unwrap());
    let request =
        machine.exchange_client_credentials().add_scope(Scope::new("documents:write".to_owned()));
    let token = request.request_async(&carry).await.unwrap();
    assert!(token.refresh_token().is_none());
    let documents = world.documents(token.access_token().secret());
    documents.create("from a machine", "").await.expect(201);
    assert_eq!(documents.list("").await.status, 403, "it did not ask for documents:read");
}

#[tokio::test]
async fn oauth2_is_content_as_a_public_client() {
    let world = World::start().await;
    let http = Http::new();
    let carry = |request| carry(http.clone(), request);
    let callback = NATIVE_CALLBACK.replace("127.0.0.1", "127.0.0.1:51004");
    let native = BasicClient::new(ClientId::new("native".to_owned()))
        .set_auth_uri(AuthUrl::new(format!("{}/authorize", world.auth.issuer)).unwrap())
        .set_token_uri(TokenUrl::new(format!("{}/token", world.auth.issuer)).unwrap())
        .set_redirect_uri(RedirectUrl::new(callback.clone()).unwrap());
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, _) = native
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("documents:read".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let page = sign_in(&mut Browser::new(), url.as_str(), ALICE.0, ALICE.1).await;
    assert!(page.location().as_str().starts_with(&callback), "{}", page.location());
    let code = AuthorizationCode::new(page.location_param("code"));
    let exchange = native.exchange_code(code).set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&carry).await.unwrap();
    assert_eq!(world.documents(tokens.access_token().secret()).list("").await.status, 200);
}
