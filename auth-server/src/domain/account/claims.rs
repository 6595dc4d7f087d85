//! What is known of a person: the standard claims of OpenID Connect, their types, and which scope lets which of them out.

use serde_json::{Map, Value};
use shared_types::Scope;
use url::Url;

use crate::domain::display_text::{are_plain_lines, is_plain_line};

/// Of which JSON type a claim is ([OpenID Connect Core 5.1](https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimType {
    Text,
    Url,
    Email,
    Flag,
    /// `YYYY-MM-DD`, `0000-MM-DD` without the year, or `YYYY`.
    Birthdate,
    /// Seconds since 1970, a JSON number.
    Time,
    Address,
}

impl ClaimType {
    const fn demand(self) -> &'static str {
        match self {
            Self::Text => "one line of visible text",
            Self::Url => "an http or https URL",
            Self::Email => "an e-mail address",
            Self::Flag => "true or false",
            Self::Birthdate => "a date as YYYY-MM-DD, 0000-MM-DD or YYYY",
            Self::Time => "a number: seconds since 1970-01-01 UTC",
            Self::Address => {
                "an object with lines of visible text for some of formatted, street_address, locality, region, postal_code, country"
            }
        }
    }

    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text, Value::String(text)) => is_plain_line(text),
            (Self::Url, Value::String(text)) => {
                Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
            }
            (Self::Email, Value::String(text)) => is_email(text),
            (Self::Flag, value) => value.is_boolean(),
            (Self::Birthdate, Value::String(text)) => is_birthdate(text),
            (Self::Time, value) => value.as_i64().is_some_and(|seconds| seconds >= 0),
            (Self::Address, Value::Object(members)) => {
                !members.is_empty()
                    && members.iter().all(|(name, value)| {
                        // `formatted` and `street_address` "MAY contain multiple lines".
                        ADDRESS_MEMBERS.contains(&name.as_str())
                            && value.as_str().is_some_and(are_plain_lines)
                    })
            }
            _ => false,
        }
    }
}

/// The members of `address` ([OpenID Connect Core 5.1.1](https://openid.net/specs/openid-connect-core-1_0.html#AddressClaim)).
const ADDRESS_MEMBERS: [&str; 6] =
    ["formatted", "street_address", "locality", "region", "postal_code", "country"];

/// Every standard claim but `sub`, its type, and the scope token that lets it out
/// ([OpenID Connect Core 5.4](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims)).
const STANDARD_CLAIMS: [(&str, ClaimType, &str); 19] = [
    ("name", ClaimType::Text, "profile"),
    ("family_name", ClaimType::Text, "profile"),
    ("given_name", ClaimType::Text, "profile"),
    ("middle_name", ClaimType::Text, "profile"),
    ("nickname", ClaimType::Text, "profile"),
    ("preferred_username", ClaimType::Text, "profile"),
    ("profile", ClaimType::Url, "profile"),
    ("picture", ClaimType::Url, "profile"),
    ("website", ClaimType::Url, "profile"),
    ("gender", ClaimType::Text, "profile"),
    ("birthdate", ClaimType::Birthdate, "profile"),
    ("zoneinfo", ClaimType::Text, "profile"),
    ("locale", ClaimType::Text, "profile"),
    ("updated_at", ClaimType::Time, "profile"),
    ("email", ClaimType::Email, "email"),
    ("email_verified", ClaimType::Flag, "email"),
    ("address", ClaimType::Address, "address"),
    ("phone_number", ClaimType::Text, "phone"),
    ("phone_number_verified", ClaimType::Flag, "phone"),
];

/// The names of all standard claims but `sub`, for the metadata.
pub fn standard_claims() -> impl Iterator<Item = &'static str> {
    STANDARD_CLAIMS.iter().map(|(name, ..)| *name)
}

/// What is wrong with a claim. Names the claim, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsFault {
    /// Not one of the standard claims.
    #[error("{0:?} is not a standard claim of OpenID Connect Core 5.1")]
    Unknown(String),
    /// The server decides this one.
    #[error("the claim sub is the server's own and cannot be set")]
    Subject,
    /// Of another type than the standard says.
    #[error("the claim {0} must be {1}")]
    Type(&'static str, &'static str),
}

/// Whether `claims` are standard claims, each of the type that
/// [OpenID Connect Core 5.1](https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims) gives it. A language tag may follow a
/// text after `#` ([section 5.2](https://openid.net/specs/openid-connect-core-1_0.html#ClaimsLanguagesAndScripts)).
pub fn check_claims(claims: &Map<String, Value>) -> Result<(), ClaimsFault> {
    claims.iter().try_for_each(|(name, value)| check_claim(name, value))
}

fn check_claim(name: &str, value: &Value) -> Result<(), ClaimsFault> {
    if name == "sub" {
        return Err(ClaimsFault::Subject);
    }
    let (standard, kind, _) =
        standard_claim(name).ok_or_else(|| ClaimsFault::Unknown(name.to_owned()))?;
    if kind.holds(value) { Ok(()) } else { Err(ClaimsFault::Type(standard, kind.demand())) }
}

/// The claims that `scope` lets out. `sub` is not among them: it always goes out.
pub fn released_claims(claims: &Map<String, Value>, scope: &Scope) -> Map<String, Value> {
    let released = |name: &str| standard_claim(name).is_some_and(|(_, _, by)| scope.contains(by));
    claims
        .iter()
        .filter(|(name, _)| released(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The row of the table for `name`, which may carry a language tag where a person would read it.
fn standard_claim(name: &str) -> Option<(&'static str, ClaimType, &'static str)> {
    let (base, tag) = name.split_once('#').map_or((name, None), |(base, tag)| (base, Some(tag)));
    let found = STANDARD_CLAIMS.iter().copied().find(|(standard, ..)| *standard == base)?;
    let tag_fits = tag.is_none_or(|tag| {
        matches!(found.1, ClaimType::Text | ClaimType::Url | ClaimType::Address)
            && !tag.is_empty()
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    tag_fits.then_some(found)
}

/// One `@` with something before it and a name behind it, nothing blank: enough to catch a slip. Only a mail proves an address.
fn is_email(text: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    text.len() <= 254
        && !text.contains(blank)
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

fn is_birthdate(text: &str) -> bool {
    let number = |digits: &str, length: usize| {
        (digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse::<u32>().ok())
            .flatten()
    };
    let mut parts = text.split('-');
    let (year, month, day) =
        (parts.next().and_then(|year| number(year, 4)), parts.next(), parts.next());
    if year.is_none() || parts.next().is_some() {
        return false;
    }
    match (month, day) {
        (None, None) => true,
        (Some(month), Some(day)) => {
            number(month, 2).is_some_and(|month| (1..=12).contains(&month))
                && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(claims: &Value) -> Result<(), ClaimsFault> {
        check_claims(claims.as_object().unwrap())
    }

    #[test]
    fn claims_of_the_standard_types_are_taken() {
        let all = json!({
            "name": "Alice Example", "family_name": "Example", "given_name": "Alice", "middle_name": "B", "nickname": "Al",
            "preferred_username": "alice", "profile": "https://example.com/alice", "picture": "https://example.com/alice.png",
            "website": "http://example.com", "gender": "female", "birthdate": "0000-02-29", "zoneinfo": "Europe/Paris",
            "locale": "en-US", "updated_at": 1_700_000_000, "email": "alice@example.com", "email_verified": true,
            "address": { "formatted": "1 Main Street\nParis", "locality": "Paris", "country": "France" }, "phone_number": "+33 1 23 45 67 89",
            "phone_number_verified": false, "name#ja": "アリス",
        });
        assert_eq!(check(&all), Ok(()));
        assert!(
            standard_claims().all(|name| all.get(name).is_some()),
            "every standard claim is tried here"
        );
    }

    #[test]
    fn claims_of_other_types_are_refused() {
        for bad in [
            json!({"email_verified": "true"}),
            json!({"email": "alice"}),
            json!({"email": "a@b@c"}),
            json!({"address": "Paris"}),
            json!({"address": {}}),
            json!({"address": {"planet": "Earth"}}),
            json!({"address": {"country": 1}}),
            json!({"updated_at": "2024-01-01"}),
            json!({"updated_at": 1.5}),
            json!({"updated_at": -1}),
            json!({"picture": "javascript:alert(1)"}),
            json!({"birthdate": "1990-13-01"}),
            json!({"birthdate": "90-01-01"}),
            json!({"birthdate": "1990-01"}),
            json!({"birthdate": "1990-01-01-01"}),
            json!({"name": ""}),
            json!({"name": "Alice\u{202e}ecilA"}),
            json!({"name": "Alice\nExample"}),
            json!({"address": {"formatted": "1 Main Street\n\u{202e}Paris"}}),
            json!({"name": null}),
        ] {
            assert!(matches!(check(&bad), Err(ClaimsFault::Type(..))), "{bad}");
        }
        for unknown in [
            json!({"role": "admin"}),
            json!({"email_verified#en": true}),
            json!({"name#": "x"}),
            json!({"iss": "x"}),
        ] {
            assert!(matches!(check(&unknown), Err(ClaimsFault::Unknown(_))), "{unknown}");
        }
        assert_eq!(check(&json!({"sub": "acct_1"})), Err(ClaimsFault::Subject));
    }

    #[test]
    fn each_scope_lets_its_own_claims_out() {
        let claims = json!({
            "name": "Alice", "name#ja": "アリス", "email": "a@example.com", "email_verified": true,
            "address": {"country": "FR"}, "phone_number": "+33", "phone_number_verified": true,
        });
        let released = |scope: &str| {
            let scope = Scope::parse(scope).unwrap();
            released_claims(claims.as_object().unwrap(), &scope)
                .keys()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(released("openid"), "");
        assert_eq!(released("openid profile"), "name name#ja");
        assert_eq!(released("email"), "email email_verified");
        assert_eq!(released("address"), "address");
        assert_eq!(released("phone"), "phone_number phone_number_verified");
        assert_eq!(released("documents:read"), "");
    }
}
