//! The rules of the house, enforced by reading its sources: who may use what, and that the documents name things that exist.

mod documents;
mod layers;

use std::collections::BTreeSet;
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

/// These files, which name what they forbid.
const HOUSE: &str = "tests/cases/house/";

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

#[test]
fn nothing_is_ignored_allowed_or_left_to_do() {
    let words = ["#[ignore", "[allow(", "todo!(", "unimplemented!("];
    let mut faults = Vec::new();
    for source in sources() {
        if source.is_below(&[HOUSE]) {
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
            if !attribute[..end].contains("reason") && !source.is_below(&[HOUSE]) {
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
        if source.is_below(&[HOUSE]) {
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
