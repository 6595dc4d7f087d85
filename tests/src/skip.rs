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
    // Written past the capture of the test runner, which shows nothing of a case that passes.
    let line = format!("SKIPPED {name}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
