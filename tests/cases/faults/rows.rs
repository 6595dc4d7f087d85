//! Rows that do not hold what was stored: whoever meets one is told that the server is at fault, and nobody gets anything by it.

use std::sync::Arc;

use auth_server::{Ports, SeededRandom};
use tests::background;
use tests::world::{World, free_address};

use super::tamper;

/// What is spoilt, and that only Alice's grant or everybody meets it.
const SPOILT: [&str; 10] = [
    "UPDATE authorization_grant SET scope = 'not a \"scope\"'",
    "UPDATE authorization_grant SET subject = ''",
    "UPDATE authorization_grant SET resources = '{'",
    "UPDATE authorization_grant SET amr = 'pwd'",
    "UPDATE authorization_grant SET salt = x'00'",
    "UPDATE authorization_grant SET code_hash = x''",
    "UPDATE authorization_grant SET generation = -1",
    "UPDATE authorization_grant SET retries = -1, generation = 4294967296",
    "UPDATE account SET claims = '[]'",
    "UPDATE account SET claims = '{'",
];

#[tokio::test]
async fn a_spoilt_row_is_a_fault_of_the_server_and_opens_nothing() {
    for statement in SPOILT {
        let world = World::start().await;
        let web = world.web();
        let (code, pending) = world.code(&web, "openid profile documents:read", "spoilt").await;
        let tokens = world.tokens(&web, "openid profile documents:read", "whole").await;
        tamper(&world, statement).await;
        let answers = [
            ("redeem", web.redeem(&code, &pending).await),
            ("refresh", web.refresh(&tokens.member("refresh_token")).await),
            ("userinfo", web.userinfo(&tokens.member("access_token")).await),
            ("introspect", web.introspect(&tokens.member("refresh_token")).await),
        ];
        let mut noticed = false;
        for (what, answer) in answers {
            noticed |= answer.status >= 500;
            match answer.status {
                500 => assert_eq!(answer.error(), "server_error", "{statement}: {what}"),
                // Untouched by it, or no longer what the client holds.
                200 | 400 | 401 => {}
                other => panic!("{statement}: {what} is {other}: {}", answer.text()),
            }
        }
        let refused = statement.contains("salt") || statement.contains("code_hash");
        assert!(noticed || refused, "{statement}: nobody noticed");
        // Who does not meet the row is served.
        world.machine().client_credentials("documents:read").await.expect(200);
    }
}

#[tokio::test]
async fn a_spoilt_key_or_client_stops_a_server_that_starts() {
    for statement in [
        "UPDATE signing_key SET public_jwk = '{}'",
        "UPDATE signing_key SET sealed_private = x'00' WHERE state = 'signing'",
        "UPDATE client SET document = '{'",
        "UPDATE api SET document = '[]'",
        "UPDATE secret SET sealed = x'00'",
        "DELETE FROM epochs",
    ] {
        let world = World::start().await;
        tamper(&world, statement).await;
        let mut settings = world.auth.running.app().settings.clone();
        settings.listen = free_address();
        let ports = Ports { clock: world.clock.clone(), random: Arc::new(SeededRandom::new(9)) };
        let started = background::run(async move {
            match auth_server::spawn(settings, ports).await {
                Ok(running) => {
                    running.stop().await;
                    None
                }
                Err(fault) => Some(fault.to_string()),
            }
        });
        let fault = started.await.unwrap_or_else(|| panic!("{statement}: it started"));
        assert!(!fault.contains('{'), "{statement}: the fault shows content: {fault}");
    }
}
