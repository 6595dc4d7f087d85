//! For whom an access token is, and what it may say: audiences and scopes ([RFC 8707](https://www.rfc-editor.org/rfc/rfc8707)).
//!
//! One decision for every grant type. A token without a named resource is for the default API, and for the issuer itself (userinfo)
//! when `openid` was granted; a token for a named resource is for that API alone, so that an API can never use it at another one.

use shared_types::{Audience, Audiences, Issuer, Scope, ScopeToken, SigningAlg};

use super::registry::Registry;

/// The scope tokens of the issuer itself ([OpenID Connect Core section 5.4](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims)).
pub const ISSUER_SCOPES: [&str; 6] =
    ["openid", "profile", "email", "address", "phone", "offline_access"];

/// An access token that may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its `aud`.
    pub audiences: Audiences,
    /// Its `scope`: what was granted and one of its audiences knows.
    pub scope: Scope,
    /// How long it lives, in seconds.
    pub lifetime: i64,
    /// With what it is signed.
    pub alg: SigningAlg,
}

/// Why no token can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// No API of that identifier is registered.
    #[error("the resource is unknown")]
    Unknown,
    /// The resource was not part of what was granted.
    #[error("the resource was not granted")]
    NotGranted,
    /// More than one resource is asked for: a token is for one API.
    #[error("more than one resource is asked for")]
    Several,
    /// No resource is named, and the scope leads neither to the default API nor to the issuer.
    #[error("no resource is named, and none follows from the scope")]
    Unnamed,
    /// Nothing of the scope means anything to the audience.
    #[error("nothing of the scope belongs to the audience")]
    NothingGranted,
}

/// What tokens for the issuer alone are like; an API brings its own.
#[derive(Clone, Copy, Debug)]
pub struct IssuerTokens<'a> {
    /// The issuer.
    pub issuer: &'a Issuer,
    /// How long its tokens live, in seconds.
    pub lifetime: i64,
    /// With what they are signed.
    pub alg: SigningAlg,
}

/// The one resource that a token request names. "resource" may be repeated in general; a token of ours is for one API.
pub fn one_resource<'a>(
    mut sent: impl Iterator<Item = &'a str>,
) -> Result<Option<&'a str>, TargetFault> {
    let first = sent.next();
    if sent.next().is_some() { Err(TargetFault::Several) } else { Ok(first) }
}

/// The token for `scope` when the request names `requested` and the grant is bound to `granted` resources (none: not bound).
pub fn target(
    registry: &Registry,
    issuer: IssuerTokens<'_>,
    scope: &Scope,
    granted: &[String],
    requested: Option<&str>,
) -> Result<Target, TargetFault> {
    match (requested, granted) {
        (None, []) => without_resource(registry, issuer, scope),
        // The grant is for one resource, so the request need not repeat it.
        (None, [only]) => for_resource(registry, scope, only),
        (None, _) => Err(TargetFault::Several),
        (Some(resource), _) => {
            let api = registry.api_requested(resource).ok_or(TargetFault::Unknown)?;
            // RFC 8707 section 2.2: what a token request names has to lie within what the grant was given for.
            let within = granted.is_empty()
                || granted.iter().any(|granted| api.identifier.is_requested_by(granted));
            if within {
                for_resource(registry, scope, resource)
            } else {
                Err(TargetFault::NotGranted)
            }
        }
    }
}

fn for_resource(registry: &Registry, scope: &Scope, resource: &str) -> Result<Target, TargetFault> {
    let api = registry.api_requested(resource).ok_or(TargetFault::Unknown)?;
    let scope = scope.intersection(&api.scope());
    if scope.is_empty() {
        return Err(TargetFault::NothingGranted);
    }
    let audiences = Audiences::new(vec![api.identifier.clone()]).ok_or(TargetFault::Unknown)?;
    Ok(Target { audiences, scope, lifetime: api.access_token_lifetime, alg: api.signing_alg })
}

fn without_resource(
    registry: &Registry,
    issuer: IssuerTokens<'_>,
    scope: &Scope,
) -> Result<Target, TargetFault> {
    let (mut audiences, mut known) = (Vec::new(), Scope::default());
    let (mut lifetime, mut alg) = (issuer.lifetime, issuer.alg);
    if let Some(api) = registry.default_api()
        && !scope.intersection(&api.scope()).is_empty()
    {
        audiences.push(api.identifier.clone());
        known = api.scope();
        (lifetime, alg) = (api.access_token_lifetime, api.signing_alg);
    }
    if scope.contains("openid") {
        audiences.push(Audience::parse(issuer.issuer.as_str()).map_err(|_| TargetFault::Unknown)?);
        known = known.union(&issuer_scope());
    }
    let audiences = Audiences::new(audiences).ok_or(TargetFault::Unnamed)?;
    Ok(Target { audiences, scope: scope.intersection(&known), lifetime, alg })
}

/// The issuer's own scope tokens as a set.
pub fn issuer_scope() -> Scope {
    ISSUER_SCOPES.iter().filter_map(|token| ScopeToken::parse(token).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api::Api;

    const DOCUMENTS: &str = "https://documents.example";
    const MAIL: &str = "https://mail.example/v1";

    fn api(identifier: &str, scopes: &str, default: bool) -> Api {
        Api {
            identifier: Audience::parse(identifier).unwrap(),
            name: String::new(),
            scopes: scope(scopes).iter().map(|token| (token.clone(), String::new())).collect(),
            access_token_lifetime: 300,
            signing_alg: SigningAlg::Es256,
            default,
            introspected_by: Vec::new(),
        }
    }

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    fn decide(
        scope_text: &str,
        granted: &[&str],
        requested: Option<&str>,
    ) -> Result<(Vec<String>, String), TargetFault> {
        let apis = vec![api(DOCUMENTS, "read write", true), api(MAIL, "send", false)];
        let registry = Registry::new(Vec::new(), apis, 0);
        let issuer = Issuer::parse("https://id.example").unwrap();
        let issuer = IssuerTokens { issuer: &issuer, lifetime: 60, alg: SigningAlg::EdDsa };
        let granted: Vec<String> = granted.iter().map(|text| (*text).to_owned()).collect();
        let target = target(&registry, issuer, &scope(scope_text), &granted, requested)?;
        assert_eq!((target.lifetime == 60, target.alg == SigningAlg::EdDsa), {
            let alone = !target.audiences.contains(DOCUMENTS) && !target.audiences.contains(MAIL);
            (alone, alone)
        });
        let audiences = target.audiences.iter().map(ToString::to_string).collect();
        Ok((audiences, target.scope.to_string()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "stands beside the faults in the assertions")]
    fn token(audiences: &[&str], scope: &str) -> Result<(Vec<String>, String), TargetFault> {
        Ok((audiences.iter().map(|text| (*text).to_owned()).collect(), scope.to_owned()))
    }

    #[test]
    fn without_a_resource_the_default_api_and_userinfo_follow_from_the_scope() {
        let issuer = "https://id.example";
        assert_eq!(decide("read", &[], None), token(&[DOCUMENTS], "read"));
        assert_eq!(decide("openid profile", &[], None), token(&[issuer], "openid profile"));
        assert_eq!(
            decide("openid read send", &[], None),
            token(&[DOCUMENTS, issuer], "openid read")
        );
        assert_eq!(decide("send", &[], None), Err(TargetFault::Unnamed));
        assert_eq!(
            decide("profile", &[], None),
            Err(TargetFault::Unnamed),
            "userinfo demands openid"
        );
    }

    #[test]
    fn a_named_resource_stands_alone() {
        assert_eq!(decide("openid read send", &[], Some(MAIL)), token(&[MAIL], "send"));
        assert_eq!(
            decide("openid read", &[DOCUMENTS], Some(DOCUMENTS)),
            token(&[DOCUMENTS], "read")
        );
        assert_eq!(
            decide("openid read", &[DOCUMENTS], None),
            token(&[DOCUMENTS], "read"),
            "named before"
        );
        assert_eq!(decide("openid read", &[], Some(MAIL)), Err(TargetFault::NothingGranted));
    }

    #[test]
    fn the_audience_is_the_registered_identifier_not_what_was_sent() {
        let sent = "https://documents.example/";
        assert_eq!(decide("read", &[], Some(sent)), token(&[DOCUMENTS], "read"));
        assert_eq!(decide("read", &[sent], Some(DOCUMENTS)), token(&[DOCUMENTS], "read"));
        assert_eq!(
            decide("read", &[], Some("https://documents.example//")),
            Err(TargetFault::Unknown)
        );
    }

    #[test]
    fn a_grant_for_some_resources_gives_tokens_for_one_of_them_only() {
        assert_eq!(decide("read send", &[DOCUMENTS, MAIL], Some(MAIL)), token(&[MAIL], "send"));
        assert_eq!(decide("read send", &[DOCUMENTS, MAIL], None), Err(TargetFault::Several));
        assert_eq!(decide("read send", &[DOCUMENTS], Some(MAIL)), Err(TargetFault::NotGranted));
        assert_eq!(decide("read", &[], Some("https://other.example")), Err(TargetFault::Unknown));
    }

    #[test]
    fn a_token_request_names_at_most_one_resource() {
        assert_eq!(one_resource([].into_iter()), Ok(None));
        assert_eq!(one_resource(["a"].into_iter()), Ok(Some("a")));
        assert_eq!(one_resource(["a", "b"].into_iter()), Err(TargetFault::Several));
    }
}
