//! Whether a person has to be asked before a client gets what it wants.

use shared_types::Scope;

use super::client::{Client, ConsentMode};

/// What a person allowed a client before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredConsent {
    /// The scope that was allowed.
    pub scope: Scope,
    /// Moves when consent is withdrawn; a grant lives only while it stays. 0: nothing was ever stored or withdrawn.
    pub epoch: i64,
}

/// Whether the consent page must be shown. `asked_for_it` is `prompt=consent`.
///
/// With `prompt=none` a `true` is answered with `consent_required`
/// ([OpenID Connect Core 3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
pub fn must_ask(
    client: &Client,
    redirect_uri: &str,
    requested: &Scope,
    stored: &StoredConsent,
    asked_for_it: bool,
) -> bool {
    if asked_for_it {
        return true;
    }
    // Any program on the machine can claim such a redirect, so an earlier answer was perhaps given to another one
    // (RFC 8252 section 8.6: the server SHOULD NOT process such repeated requests without consent).
    if client.is_public() && !redirect_uri.starts_with("https://") {
        return true;
    }
    match client.metadata.consent {
        ConsentMode::Skip => false,
        ConsentMode::Always => true,
        ConsentMode::Remember => !stored.scope.covers(requested),
    }
}

#[cfg(test)]
mod tests {
    use shared_types::ClientId;

    use super::*;
    use crate::domain::client::{AuthMethod, ClientMetadata};

    const LOOPBACK: &str = "http://127.0.0.1:9002/callback";
    const HTTPS: &str = "https://app.example/callback";

    fn client(method: AuthMethod, consent: ConsentMode) -> Client {
        let metadata = ClientMetadata {
            token_endpoint_auth_method: method,
            consent,
            ..ClientMetadata::new(ClientId::parse("c").unwrap())
        };
        Client {
            metadata,
            secret: None,
            old_secret: None,
            enabled: true,
            epoch: 0,
            tokens_not_before: shared_types::UnixSeconds::new(0),
        }
    }

    fn asks(
        client: &Client,
        redirect_uri: &str,
        requested: &str,
        stored: &str,
        asked_for_it: bool,
    ) -> bool {
        let scope = |text| Scope::parse(text).unwrap();
        must_ask(
            client,
            redirect_uri,
            &scope(requested),
            &StoredConsent { scope: scope(stored), epoch: 0 },
            asked_for_it,
        )
    }

    #[test]
    fn an_answer_is_remembered_for_what_it_covers() {
        let client = client(AuthMethod::ClientSecretBasic, ConsentMode::Remember);
        assert!(asks(&client, HTTPS, "openid", "", false));
        assert!(!asks(&client, HTTPS, "openid", "openid profile", false));
        assert!(asks(&client, HTTPS, "openid email", "openid profile", false));
        assert!(
            !asks(&client, LOOPBACK, "openid", "openid", false),
            "a confidential client proves itself"
        );
    }

    #[test]
    fn prompt_consent_always_asks() {
        for mode in [ConsentMode::Remember, ConsentMode::Always, ConsentMode::Skip] {
            assert!(asks(
                &client(AuthMethod::ClientSecretBasic, mode),
                HTTPS,
                "openid",
                "openid",
                true
            ));
        }
    }

    #[test]
    fn a_client_that_anybody_can_play_asks_every_time() {
        for mode in [ConsentMode::Remember, ConsentMode::Skip] {
            let native = client(AuthMethod::None, mode);
            assert!(asks(&native, LOOPBACK, "openid", "openid", false));
            assert!(asks(&native, "com.example.app:/callback", "openid", "openid", false));
            assert!(
                !asks(&native, HTTPS, "openid", "openid", false),
                "an https redirect reaches its owner only"
            );
        }
    }

    #[test]
    fn always_and_skip_do_as_they_say() {
        assert!(asks(
            &client(AuthMethod::ClientSecretBasic, ConsentMode::Always),
            HTTPS,
            "openid",
            "openid",
            false
        ));
        assert!(!asks(
            &client(AuthMethod::ClientSecretBasic, ConsentMode::Skip),
            HTTPS,
            "openid",
            "",
            false
        ));
    }
}
