//! The rules of the house, enforced by reading its sources: who may use what, and that the documents name things that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One source file.
struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The code without line comments, line by line with its number.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The part before the unit tests, which may use what the code itself may not.
    fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let all_tests = self.path.ends_with("/tests.rs");
        self.code().take_while(move |(_, line)| !all_tests && !opens_tests(line))
    }

    /// How many lines there are to read before the unit tests.
    fn length_before_tests(&self) -> usize {
        let lines = self.text.lines().take_while(|line| !opens_tests(line));
        lines.filter(|line| *line != "#[cfg(test)]").count()
    }

    fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// Whether this line begins the module of unit tests, with which a file ends.
fn opens_tests(line: &str) -> bool {
    line.starts_with("mod tests {") || line.ends_with(" mod tests {")
}

fn root() -> PathBuf {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let cases = cases.canonicalize().unwrap();
    cases.ancestors().nth(2).unwrap().to_owned()
}

const MEMBERS: [&str; 7] =
    ["shared-types", "database", "service", "auth-server", "resource-server", "demo", "tests"];

fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for member in MEMBERS {
        collect(&root.join(member), &root, &mut found);
    }
    assert!(found.len() > 30, "the sources are found");
    found
}

fn collect(folder: &Path, root: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source {
                path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

/// Fails with all faults at once, so that one run shows everything there is to mend.
fn none(faults: Vec<String>, rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

/// Every line outside `allowed` that has one of `words`, and every place in `allowed` that needs no allowance: it is gone or has none.
fn lines_with(words: &[&str], within: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for source in sources().iter().filter(|source| source.is_below(within)) {
        let places: Vec<&str> =
            allowed.iter().copied().filter(|place| source.is_below(&[place])).collect();
        let lines = source.code_before_tests();
        for (number, line) in lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)))
        {
            if places.is_empty() {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
            used.extend(&places);
        }
    }
    let stale = allowed.iter().filter(|place| !used.contains(*place));
    faults.extend(stale.map(|place| format!("{place}: allowed, and nothing there needs it")));
    faults
}

#[test]
fn every_file_begins_with_what_it_is() {
    let faults = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.clone())
        .collect();
    none(faults, "the first line of a file is a `//!` sentence");
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let faults = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > 500)
        .map(|(lines, path)| format!("{path}: {lines}"))
        .collect();
    none(faults, "a file stops at 500 lines");
}

#[test]
fn endpoints_and_grants_name_their_specification() {
    let specifications =
        ["rfc-editor.org", "openid.net", "datatracker.ietf.org", "spec.openapis.org", "w3.org"];
    // Lists of the others, and the two questions that no RFC answers.
    let without = ["mod.rs", "health.rs"];
    let faults = sources()
        .iter()
        .filter(|source| {
            source.is_below(&["auth-server/src/endpoints/", "auth-server/src/grants/"])
        })
        .filter(|source| !without.iter().any(|name| source.path.ends_with(name)))
        .filter(|source| {
            let head: Vec<&str> =
                source.text.lines().take_while(|line| line.starts_with("//!")).collect();
            let head = head.join("\n");
            !specifications.iter().any(|site| head.contains(site))
        })
        .map(|source| source.path.clone())
        .collect();
    none(faults, "the head of an endpoint or grant links its RFC");
}

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
        "resource-server/src/config",
        "service/src/settings.rs",
        "tests/",
    ];
    let faults = lines_with(&words, &[""], &allowed);
    none(faults, "the environment is read in config only");
}

#[test]
fn layers_point_down_only() {
    // For each folder of auth-server the siblings that it may not know.
    let forbidden: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("domain/", &["endpoints", "grants", "tokens", "keys", "store", "cli", "server"][..]),
        ("store/", &["endpoints", "grants", "tokens", "cli", "server"]),
        ("tokens/", &["endpoints", "grants", "store", "cli", "server"]),
        ("keys/", &["endpoints", "grants", "tokens", "cli", "server"]),
        ("grants/", &["endpoints", "cli", "server"]),
    ]);
    let mut faults = Vec::new();
    for source in sources() {
        for (folder, others) in &forbidden {
            if !source.is_below(&[&format!("auth-server/src/{folder}")]) {
                continue;
            }
            for (number, line) in source.code_before_tests() {
                let upward = others.iter().any(|other| line.contains(&format!("crate::{other}")));
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

#[test]
fn nothing_is_ignored_allowed_or_left_to_do() {
    let words = ["#[ignore", "[allow(", "todo!(", "unimplemented!("];
    let mut faults = Vec::new();
    for source in sources() {
        if source.path == "tests/cases/house.rs" {
            continue;
        }
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(faults, "use #[expect(.., reason)], and finish what is begun");
}

#[test]
fn every_exception_says_why() {
    let mut faults = Vec::new();
    for source in sources() {
        for (at, _) in source.text.match_indices("[expect(") {
            let attribute = &source.text[at..];
            let end = attribute.find(")]").unwrap_or(attribute.len());
            if !attribute[..end].contains("reason") && source.path != "tests/cases/house.rs" {
                faults.push(format!("{}: {}", source.path, &attribute[..end.min(60)]));
            }
        }
    }
    none(faults, "an #[expect] carries its reason");
}

#[test]
fn tests_neither_sleep_nor_retry() {
    let words = ["thread::sleep", "time::sleep"];
    let mut faults = Vec::new();
    for source in sources() {
        if source.path == "tests/cases/house.rs" {
            continue;
        }
        let mut in_tests = source.is_below(&["tests/"]);
        for (number, line) in source.code() {
            in_tests |= line.trim_end() == "#[cfg(test)]";
            if in_tests && words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    none(faults, "a test waits for an event or moves the clock");
}

/// README.md and everything below docs/, relative to the workspace.
fn documents() -> Vec<(String, String)> {
    let root = root();
    let mut found = vec![root.join("README.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

#[test]
fn what_the_documents_name_exists() {
    let all = sources();
    let mut faults = Vec::new();
    for (document, text) in documents() {
        let names_tests = ["docs/threats.md", "docs/conformance.md"].contains(&&*document);
        let mut in_fence = false;
        for (number, line) in text.lines().enumerate() {
            in_fence ^= line.starts_with("```");
            if in_fence || line.starts_with("```") {
                continue;
            }
            let named = code_spans(line).filter(|named| {
                let is_lost_test = names_tests
                    && is_test_name(named)
                    && !all.iter().any(|source| source.text.contains(&format!("fn {named}(")));
                is_lost_test || (is_path(named) && !is_there(named))
            });
            let folder = root().join(&document).parent().unwrap().to_owned();
            let linked = local_links(line).filter(|link| !folder.join(link).exists());
            for missing in named.chain(linked) {
                faults.push(format!("{document}:{}: {missing}", number + 1));
            }
        }
    }
    none(faults, "the documents name files and tests that exist");
}

/// Where the links of a line lead inside the repository, without the place in the page.
fn local_links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| link.split('#').next().unwrap_or(link))
}

/// Documents name files from the root, or, where the server is plain, from its sources.
fn is_there(named: &str) -> bool {
    ["", "auth-server/src", "resource-server/src", "resource-server/src/store/migrations"]
        .iter()
        .any(|base| root().join(base).join(named).exists())
}

/// What stands between backticks: `module::name` counts as `name`, `file.rs:function` as the file.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(|span| span.rsplit("::").next().unwrap_or(span))
        .map(|span| span.find(".rs:").map_or(span, |at| &span[..at + 3]))
}

fn is_path(named: &str) -> bool {
    let folders = MEMBERS.iter().chain(&["docs", "deploy", ".ci"]);
    let in_folder = folders
        .into_iter()
        .any(|folder| named.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
    let is_source = [".rs", ".sql"].iter().any(|end| named.ends_with(end));
    let is_folder = named.ends_with('/');
    (in_folder || is_source || is_folder)
        && !named.starts_with('/')
        && !named.contains(['*', ' ', '{', '<', '…', ':'])
}

/// A sentence in snake case, four words or more: the way tests are named here, and little else is.
fn is_test_name(named: &str) -> bool {
    let words = named.split('_').count();
    words >= 4
        && named
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn the_road_from_route_to_row_is_short() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let section = page.split("### Redeeming a code").nth(1).unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    let road: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let ends = (road.first().copied(), road.last().copied());
    let expected = ("auth-server/src/server/routes.rs", "auth-server/src/store/grants/mod.rs");
    assert_eq!(ends, (Some(expected.0), Some(expected.1)), "from route to row");
    assert!(road.len() <= 9, "{} files", road.len());
    let all = sources();
    let length = |path: &&str| {
        let source = all.iter().find(|source| source.path == **path);
        source.unwrap_or_else(|| panic!("{path} is not there")).length_before_tests()
    };
    let lines: usize = road.iter().map(length).sum();
    assert!(lines <= 1_000, "{lines} lines");
}

#[test]
fn committed_text_names_no_place_of_one_machine() {
    let marks = ["work", "farm"].map(|folder| format!("/{folder}/"));
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| {
                line.contains(&format!("\"{mark}")) || line.contains(&format!(" {mark}"))
            }) {
                faults.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    none(faults, "no path of a single machine");
}
