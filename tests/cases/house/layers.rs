//! Who may use what: layers, the edge, SQL, engines, the environment.

use std::collections::BTreeMap;

use super::{MEMBERS, lines_with, none, root, sources};

const ACTIX: [&str; 4] = ["actix_web", "actix_tls", "actix_rt", "actix_http"];

#[test]
fn actix_stays_at_the_edge() {
    let allowed = [
        "auth-server/src/endpoints/",
        "auth-server/src/error",
        "auth-server/src/metrics.rs",
        "auth-server/src/params",
        "auth-server/src/server",
    ];
    let faults = lines_with(&ACTIX, &["auth-server/"], &allowed);
    none(faults, "actix is used at the edge of auth-server only");
    let inner = ["database/", "shared-types/", "service/src/log_format.rs", "service/src/tls.rs"];
    none(lines_with(&ACTIX, &inner, &[]), "these know nothing of HTTP");
}

#[test]
fn error_statuses_are_chosen_in_few_places() {
    let words = [
        "StatusCode::BAD_",
        "StatusCode::CONFLICT",
        "StatusCode::FORBIDDEN",
        "StatusCode::GATEWAY_TIMEOUT",
        "StatusCode::INTERNAL_SERVER_ERROR",
        "StatusCode::METHOD_NOT_ALLOWED",
        "StatusCode::NOT_FOUND",
        "StatusCode::PAYLOAD_TOO_LARGE",
        "StatusCode::REQUEST_TIMEOUT",
        "StatusCode::SERVICE_UNAVAILABLE",
        "StatusCode::TOO_MANY_REQUESTS",
        "StatusCode::UNAUTHORIZED",
        "StatusCode::UNSUPPORTED_MEDIA_TYPE",
        // The builders. Not 500: what cannot even be serialized is nobody's decision.
        "HttpResponse::BadRequest",
        "HttpResponse::Forbidden",
        "HttpResponse::MethodNotAllowed",
        "HttpResponse::NotFound",
        "HttpResponse::ServiceUnavailable",
        "HttpResponse::TooManyRequests",
        "HttpResponse::Unauthorized",
    ];
    let allowed = [
        "auth-server/src/error/",
        // Not ready, no such path or method, and which faults a page says in other words.
        "auth-server/src/endpoints/health.rs",
        "auth-server/src/endpoints/pages/page.rs",
        "auth-server/src/server/routes.rs",
        "resource-server/src/error.rs",
        "resource-server/src/guard/bearer.rs",
        // The guard mounts one path itself, and says what else may not be asked there.
        "resource-server/src/guard/problem.rs",
        // Not ready, and the one refusal that the sample API adds to the guard's.
        "resource-server/src/endpoints/health.rs",
        "resource-server/src/endpoints/share.rs",
    ];
    let faults = lines_with(&words, &["auth-server/src/", "resource-server/src/"], &allowed);
    none(faults, "the status of an error is chosen in error and the guard");
}

#[test]
fn engines_are_named_only_by_the_database() {
    let faults = lines_with(&["rusqlite", "postgres::"], &[""], &["database/", "tests/"]);
    none(faults, "rusqlite and postgres are used in database/ only");
}

#[test]
fn sql_stands_only_where_rows_are() {
    let words = ["\"SELECT ", "\"INSERT ", "\"UPDATE ", "\"DELETE FROM", "\"CREATE TABLE"];
    let allowed = ["auth-server/src/store/", "resource-server/src/store/", "database/", "tests/"];
    let faults = lines_with(&words, &[""], &allowed);
    none(faults, "SQL stands in store/ only");
}

#[test]
fn only_the_configuration_reads_the_environment() {
    // `.env(` has the command line read a variable, and gives one to a process that is started.
    let words = ["env::var", ".env("];
    let allowed = [
        "auth-server/src/config",
        // Which server its contract is put to.
        "database/src/contract/",
        "resource-server/src/config",
        "service/src/settings.rs",
        "tests/",
    ];
    let faults = lines_with(&words, &[""], &allowed);
    none(faults, "the environment is read in config only");
}

/// What the nouns and their rules do not know: everything else but chance.
const DOMAIN: [&str; 16] = [
    "app",
    "apply",
    "cli",
    "client_auth",
    "config",
    "endpoints",
    "error",
    "freshness",
    "grants",
    "keys",
    "metrics",
    "params",
    "server",
    "store",
    "tasks",
    "tokens",
];

#[test]
fn layers_point_down_only() {
    // For each folder of auth-server the siblings that it may not know.
    let forbidden: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("domain/", &DOMAIN[..]),
        ("store/", &["app", "cli", "endpoints", "grants", "keys", "params", "server", "tokens"]),
        ("keys/", &["app", "cli", "endpoints", "grants", "params", "server", "tokens"]),
        ("tokens/", &["app", "cli", "endpoints", "grants", "params", "server", "store"]),
        ("grants/", &["cli", "endpoints", "server"]),
        ("endpoints/", &["cli", "server"]),
    ]);
    let mut faults = Vec::new();
    for source in sources() {
        for (folder, others) in &forbidden {
            if !source.is_below(&[&format!("auth-server/src/{folder}")]) {
                continue;
            }
            for (number, line) in source.code_before_tests() {
                let upward = others.iter().any(|other| line.contains(&format!("crate::{other}::")));
                if upward {
                    faults.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    none(faults, "layers point down only");
}

#[test]
fn no_grant_uses_a_grant_and_no_endpoint_an_endpoint() {
    let mut faults = Vec::new();
    for folder in ["endpoints", "grants"] {
        let below = format!("auth-server/src/{folder}/");
        let all = sources();
        let names: Vec<String> = all
            .iter()
            .filter_map(|source| source.path.strip_prefix(&below))
            .filter_map(|name| name.strip_suffix(".rs"))
            .filter(|name| *name != "mod" && !name.contains('/'))
            .map(str::to_owned)
            .collect();
        for source in all.iter().filter(|source| source.is_below(&[&below])) {
            let own = source.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
            if own == "mod" {
                continue;
            }
            for (number, line) in source.code_before_tests() {
                let sibling = names.iter().filter(|name| *name != own).any(|name| {
                    line.contains(&format!("crate::{folder}::{name}::"))
                        || line.contains(&format!("super::{name}::"))
                });
                // A path (`PATH`) of another endpoint is an address, not a use of it.
                if sibling && !line.contains("PATH") {
                    faults.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    none(faults, "no grant uses a grant, no endpoint an endpoint");
}

#[test]
fn the_resource_server_never_knows_the_authorization_server() {
    let manifest = std::fs::read_to_string(root().join("resource-server/Cargo.toml")).unwrap();
    assert!(!manifest.contains("auth-server"), "in its manifest");
    none(
        lines_with(&["auth_server"], &["resource-server/", "shared-types/", "database/"], &[]),
        "only the wire joins the two servers",
    );
}

#[test]
fn what_both_servers_stand_on_stands_by_itself() {
    let mut faults = Vec::new();
    for foundation in ["shared-types", "database", "service"] {
        let manifest = std::fs::read_to_string(root().join(foundation).join("Cargo.toml")).unwrap();
        let names = manifest.lines().filter_map(|line| line.split([' ', '.', '=']).next());
        let others = names.filter(|name| MEMBERS.contains(name));
        faults.extend(others.map(|name| format!("{foundation} depends on {name}")));
    }
    none(faults, "a crate below the servers depends on no other member");
    none(lines_with(&["oauth", "issuer"], &["service/"], &[]), "service knows nothing of OAuth");
    let guard = lines_with(&["service::"], &["resource-server/src/guard/"], &[]);
    none(guard, "the guard goes along with any application");
}
