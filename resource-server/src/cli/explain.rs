//! `resource-server explain`: every check on a token in words, also those after the first that fails.
//!
//! The token is read from a file or from standard input, never from the command line, and is not shown. The keys are fetched from the
//! issuer, as the server does it. The verdict comes from the very code that guards the API.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use shared_types::{AccessTokenClaims, Clock as _, CompactJws, Rules, SystemClock, UnixSeconds};

use super::{CliError, preflight};
use crate::app::guard_options;
use crate::config::Settings;
use crate::endpoints::timestamp::rfc3339;
use crate::guard::discovery::HttpKeys;
use crate::guard::jwks::{FetchKeys as _, FixedKeys};
use crate::guard::key::{KeySet, VerifyingKey};
use crate::guard::outbound::Outbound;
use crate::guard::verify::{UnverifiedToken, check_bearer, fingerprint};
use crate::guard::{KeySource, TokenFault, Verifier};
use crate::server::routes::{Needs, table};

/// The longest input that is read.
const MAX_INPUT: u64 = 64 * 1024;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with the token; `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    token_file: PathBuf,
    /// Also hold the token against what this request needs, such as 'GET /documents'
    #[arg(long, value_name = "METHOD PATH")]
    request: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One check and what came of it.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    /// It could not be made, since an earlier one failed.
    Skipped,
}

/// Checks the token. Exit status 1 when a request with it would be refused, 2 when there is nothing to check it with.
pub async fn run(settings: Settings, args: Args) -> Result<(), CliError> {
    let token = read_token(&args.token_file);
    let needs = args.request.as_deref().map(needs_of).transpose();
    let faults = [token.as_ref().err().cloned(), needs.as_ref().err().cloned()];
    let faults = faults.into_iter().chain([preflight::authorities(&settings)]).flatten();
    let (Ok(token), Ok(needs), None) = (token, needs, faults.clone().next()) else {
        return Err(CliError::Faults(faults.collect()));
    };
    let now = SystemClock.now();
    let (verifier, keys) = fetch_keys(&settings, &token).await;
    let mut report = Report { checks: Vec::new(), now };
    report.record("keys", keys.map_err(|why| format!("not fetched: {why}")));
    report.examine(&token, &verifier);
    report.scope(&token, needs);
    let scope_failed =
        report.checks.iter().any(|check| check.name == "scope" && check.outcome == Outcome::Failed);
    // What is said above is for people; this is what the server would do.
    let accepted = verifier.verify(&token, now).is_ok() && !scope_failed;
    report.print(accepted, &token, args.json);
    if accepted { Ok(()) } else { Err(CliError::Failed(String::new())) }
}

fn read_token(path: &Path) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("--token-file: the token cannot be read: {error}");
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_INPUT).read_to_string(&mut text).map_err(fault)?;
    } else {
        std::fs::File::open(path)
            .map_err(fault)?
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(fault)?;
    }
    let text = text.trim();
    // As one copies it from a request.
    Ok(text.strip_prefix("Bearer ").unwrap_or(text).trim().to_owned())
}

/// What the route of `METHOD PATH` needs.
fn needs_of(request: &str) -> Result<Needs, String> {
    let (method, path) = request.split_once(' ').ok_or("--request: must be METHOD PATH")?;
    let path = path.split('?').next().unwrap_or(path);
    // What answers GET answers HEAD.
    let method = if method.eq_ignore_ascii_case("HEAD") { "GET" } else { method };
    let table = table();
    let route = table
        .iter()
        .find(|route| route.method.eq_ignore_ascii_case(method) && matches(route.path, path));
    route.map(|route| route.needs).ok_or_else(|| "--request: names no route of this API".to_owned())
}

/// Whether `path` is one of `pattern`, in which `{id}` stands for any one segment.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(id)) if !id.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// The keys of the token's issuer, if it is one of ours; words about how it went.
async fn fetch_keys(settings: &Settings, token: &str) -> (Verifier, Result<String, String>) {
    let options = guard_options(settings);
    let issuer = UnverifiedToken::parse(token).and_then(|token| token.unverified_issuer());
    let issuer =
        issuer.ok().and_then(|name| settings.issuers.iter().find(|issuer| issuer.as_str() == name));
    let Some(issuer) = issuer else {
        return (
            Verifier::new(Vec::new()),
            Err("the token names no issuer that is trusted here".into()),
        );
    };
    let address = options
        .issuer_addresses
        .iter()
        .find(|(of, _)| of == issuer)
        .map(|(_, address)| address.clone());
    let outbound = Arc::new(Outbound::new(options.outbound.clone()));
    let (set, said) = match HttpKeys::new(issuer.clone(), address, outbound) {
        Err(fault) => (KeySet::default(), Err(fault.to_string())),
        Ok(keys) => match keys.fetch().await {
            Err(fault) => (KeySet::default(), Err(fault.to_string())),
            Ok(set) => {
                let set = KeySet::load(set, 1, SystemClock.now());
                let said = format!("fetched from {issuer}: {}", set.len());
                (set, Ok(said))
            }
        },
    };
    let rules = Rules {
        issuer: issuer.clone(),
        audience: options.resource,
        clock_leeway: options.clock_leeway,
    };
    let source: Arc<dyn KeySource> = Arc::new(FixedKeys(Arc::new(set)));
    (Verifier::new(vec![(rules, source)]), said)
}

struct Report {
    checks: Vec<Check>,
    now: UnixSeconds,
}

impl Report {
    fn record(&mut self, name: &'static str, result: Result<String, String>) {
        let (outcome, detail) = match result {
            Ok(detail) => (Outcome::Passed, detail),
            Err(detail) => (Outcome::Failed, detail),
        };
        self.checks.push(Check { name, outcome, detail });
    }

    fn skip(&mut self, names: &[&'static str], why: &str) {
        let skipped = names.iter().map(|name| Check {
            name,
            outcome: Outcome::Skipped,
            detail: why.to_owned(),
        });
        self.checks.extend(skipped);
    }

    fn fault(&mut self, name: &'static str, result: Result<(), TokenFault>, good: &str) {
        self.record(name, result.map(|()| good.to_owned()).map_err(|fault| fault.to_string()));
    }

    fn examine(&mut self, token: &str, verifier: &Verifier) {
        self.fault(
            "form",
            CompactJws::split(token).map(drop).map_err(TokenFault::Jws),
            "three segments, not too long",
        );
        let unverified = match UnverifiedToken::parse(token) {
            Ok(unverified) => unverified,
            Err(fault) => {
                self.record("header", Err(fault.to_string()));
                return self.skip(
                    &["typ", "issuer", "key", "alg", "signature", "claims"],
                    "the token cannot be read",
                );
            }
        };
        let alg = unverified.unverified_header.unverified_alg;
        self.record("header", Ok(format!("alg {alg}, no critical extensions, no key of its own")));
        self.fault("typ", unverified.check_typ(), "at+jwt");
        let trusted = unverified
            .unverified_issuer()
            .and_then(|issuer| verifier.rules_and_keys(&issuer, self.now));
        let rules = match trusted {
            Ok((rules, set)) => {
                self.record("issuer", Ok(rules.issuer.to_string()));
                self.key(&unverified, &set);
                Some(rules.clone())
            }
            Err(fault) => {
                self.record("issuer", Err(fault.to_string()));
                self.skip(&["key", "alg", "signature"], "there are no keys to check with");
                None
            }
        };
        self.claims(&unverified.unverified_payload, rules.as_ref());
    }

    fn key(&mut self, unverified: &UnverifiedToken<'_>, set: &KeySet) {
        let found =
            unverified.unverified_kid().and_then(|kid| set.get(kid).ok_or(TokenFault::UnknownKey));
        let key: &VerifyingKey = match found {
            Ok(key) => key,
            Err(fault) => {
                self.record("key", Err(fault.to_string()));
                return self.skip(&["alg", "signature"], "there is no key to check with");
            }
        };
        self.record("key", Ok(format!("published, {}", key.alg())));
        self.fault("alg", unverified.check_alg(key), "that of the key");
        self.fault("signature", unverified.check_signature(key), "verifies");
    }

    /// Each claim on its own, so that an expired token for another audience shows both.
    fn claims(&mut self, payload: &[u8], rules: Option<&Rules>) {
        let claims = match AccessTokenClaims::parse(payload) {
            Ok(claims) => claims,
            Err(fault) => {
                self.record("claims", Err(fault.to_string()));
                return self.skip(
                    &["audience", "expiry", "times", "binding"],
                    "the claims cannot be read",
                );
            }
        };
        self.record("claims", Ok("all that RFC 9068 requires, well formed".into()));
        let Some(rules) = rules else {
            return self
                .skip(&["audience", "expiry", "times", "binding"], "the issuer is not trusted");
        };
        let audience = rules.audience.as_str();
        let ours = claims.aud.contains(audience);
        self.record(
            "audience",
            if ours { Ok(audience.to_owned()) } else { Err(format!("does not name {audience}")) },
        );
        let at = rfc3339(claims.exp);
        let expired = self.now.has_reached(claims.exp);
        self.record(
            "expiry",
            if expired { Err(format!("expired at {at}")) } else { Ok(format!("until {at}")) },
        );
        let latest = self.now.plus(rules.clock_leeway);
        let early = claims.iat > latest || claims.nbf.is_some_and(|nbf| nbf > latest);
        self.record(
            "times",
            if early {
                Err("iat or nbf is in the future".into())
            } else {
                Ok(format!("issued at {}", rfc3339(claims.iat)))
            },
        );
        self.fault("binding", check_bearer(&claims), "a bearer token");
    }

    fn scope(&mut self, token: &str, needs: Option<Needs>) {
        let payload = UnverifiedToken::parse(token).map(|token| token.unverified_payload);
        let claims = payload.ok().and_then(|payload| AccessTokenClaims::parse(&payload).ok());
        match (needs, claims) {
            (None, _) => {}
            (Some(_), None) => self.skip(&["scope"], "the claims cannot be read"),
            (Some(Needs::Scope(scope)), Some(claims)) if !claims.scope.contains(scope) => {
                self.record("scope", Err(format!("the request needs {scope}")));
            }
            (Some(Needs::Scope(scope)), Some(_)) => self.record("scope", Ok(scope.to_owned())),
            (Some(Needs::AnyToken), Some(_)) => {
                self.record("scope", Ok("the request needs none in particular".into()));
            }
            (Some(Needs::Nothing), Some(_)) => {
                self.record("scope", Ok("the request needs no token".into()));
            }
        }
    }

    #[expect(clippy::print_stdout, reason = "the command's answer")]
    fn print(&self, accepted: bool, token: &str, json: bool) {
        let name = format!("{:016x}", fingerprint(token));
        if json {
            println!(
                "{}",
                serde_json::json!({ "accepted": accepted, "token_sha256_prefix": name, "checks": self.checks })
            );
            return;
        }
        println!("token {name}… (not shown, {} bytes)", token.len());
        for Check { name, outcome, detail } in &self.checks {
            let mark = match outcome {
                Outcome::Passed => "ok  ",
                Outcome::Failed => "FAIL",
                Outcome::Skipped => "--  ",
            };
            println!("{mark} {name:<10} {detail}");
        }
        println!("{}", if accepted { "accepted" } else { "refused" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_against_the_route_table() {
        // The routes that every API has here, so that a fork's table changes nothing.
        assert_eq!(needs_of("GET /whoami").unwrap(), Needs::AnyToken);
        assert_eq!(needs_of("get /whoami?a=b").unwrap(), Needs::AnyToken);
        assert_eq!(needs_of("HEAD /whoami").unwrap(), Needs::AnyToken);
        assert_eq!(needs_of("GET /openapi.json").unwrap(), Needs::Nothing);
        for bad in ["GET", "PATCH /whoami", "GET /whoami/", "GET /else"] {
            assert!(needs_of(bad).is_err(), "{bad}");
        }
        assert!(matches("/things/{id}/parts", "/things/7/parts"));
        for other in ["/things//parts", "/things/7", "/things/7/parts/8", "/others/7/parts"] {
            assert!(!matches("/things/{id}/parts", other), "{other}");
        }
    }

    #[test]
    fn checks_go_on_after_one_that_fails() {
        use crate::guard::verify::tests::TestIssuer;
        let issuer = TestIssuer::new("https://id.example");
        let verifier = Verifier::new(vec![issuer.trust()]);
        let mut claims = issuer.claims();
        claims["aud"] = "https://other.example".into();
        claims["exp"] = 1_000.into();
        let token =
            issuer.sign(&serde_json::json!({"typ": "JWT", "alg": "EdDSA", "kid": "k"}), &claims);
        let mut report = Report { checks: Vec::new(), now: UnixSeconds::new(1_000) };
        report.examine(&token, &verifier);
        let failed: Vec<&str> = report
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::Failed)
            .map(|check| check.name)
            .collect();
        assert_eq!(failed, ["typ", "audience", "expiry"]);
    }
}
