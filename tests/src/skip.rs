//! Skipping a case out loud: it says why, and where `CI=true` it fails, since nobody reads what a green run left out.

use std::io::Write as _;

/// Says that the case `name` is skipped and why. The caller returns next.
///
/// # Panics
/// When the environment says `CI=true`.
#[track_caller]
pub fn skip(name: &str, why: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{name} would be skipped: {why}");
    say("SKIPPED", name, why);
}

/// Says that something of the case `name` is left out and why, where that is no failure even if `CI=true`: what hardly any machine has.
pub fn left_out(name: &str, why: &str) {
    say("LEFT OUT", name, why);
}

/// Written past the capture of the test runner, which shows nothing of a case that passes.
fn say(what: &str, name: &str, why: &str) {
    let line = format!("{what} {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
