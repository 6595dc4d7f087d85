//! The documents name files, functions and tests that exist, and the road that they promise is as short as they say.

use std::path::PathBuf;

use super::{MEMBERS, Source, none, root, sources};

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
            let lost = places(line).filter(|(file, name)| {
                all.iter().any(|source| is_file(source, file))
                    && !all.iter().any(|source| is_file(source, file) && defines(source, name))
            });
            let lost: Vec<String> =
                lost.map(|(file, name)| format!("{name} is not defined in {file}")).collect();
            let folder = root().join(&document).parent().unwrap().to_owned();
            let linked = local_links(line).filter(|link| !folder.join(link).exists());
            let missing = named.chain(linked).map(str::to_owned).chain(lost);
            faults.extend(missing.map(|what| format!("{document}:{}: {what}", number + 1)));
        }
    }
    none(faults, "the documents name files, functions and tests that exist");
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

/// The file and the name of every `file.rs:name` of a line.
fn places(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let spans = line.split('`').skip(1).step_by(2).filter(|span| !span.contains(' '));
    spans.filter_map(|span| span.split_once(".rs:")).filter_map(|(file, name)| {
        let name = name.rsplit("::").next().unwrap_or(name);
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        is_name.then_some((file, name))
    })
}

/// Whether `file`, as a document names it and without its ending, is this source.
fn is_file(source: &Source, file: &str) -> bool {
    ["", "auth-server/src/", "resource-server/src/"]
        .iter()
        .any(|base| source.path.strip_prefix(base) == Some(&*format!("{file}.rs")))
}

/// Whether the source defines `name`: an item, or a type that a macro makes of its name.
fn defines(source: &Source, name: &str) -> bool {
    // `identifier!` writes the `struct` itself: the name stands alone at the head of its arguments, behind their documentation.
    let is_made = |line: &str| {
        let rest = line.trim_start().strip_prefix(name);
        source.path == "shared-types/src/ids.rs" && rest.is_some_and(|rest| rest.starts_with(", |"))
    };
    let items = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "macro_rules!"];
    source.code().any(|(_, line)| {
        let mut words = line.split_whitespace().skip_while(|word| !items.contains(word)).skip(1);
        let defined = words.find(|word| !items.contains(word)).is_some_and(|word| {
            let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            word.get(..end.unwrap_or(word.len())) == Some(name)
        });
        defined || is_made(line)
    })
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
