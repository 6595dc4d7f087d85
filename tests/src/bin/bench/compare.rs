//! This run next to an earlier one: rows by their share of the bare endpoint's processor time, figures by their value.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Of the document that `--json` prints. Another number: keys mean something else than before.
pub const FORMAT: u64 = 1;

/// What tells rows and figures apart.
const NAMES: [&str; 6] = ["row", "figure", "engine", "tokens", "cache", "connections"];
/// What is compared: of several the first that both have.
const MEASURES: [&str; 3] = ["cpu_share", "cpu_micros", "value"];

/// An earlier run.
pub fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read(file).with_context(|| file.display().to_string())?;
    let document: Value = serde_json::from_slice(&text).context("no run with --json")?;
    ensure!(document["format"] == FORMAT, "{} has another format", file.display());
    Ok(document)
}

/// A line for each figure that both have.
pub fn lines(before: &Value, after: &Value) -> Vec<String> {
    let (old, new) = (named(before), named(after));
    let mut lines = Vec::new();
    for (key, was) in &old {
        let Some(is) = new.get(key) else { continue };
        let pair = MEASURES
            .iter()
            .find_map(|measure| Some((measure, was[measure].as_f64()?, is[measure].as_f64()?)));
        let Some((measure, was, is)) = pair else { continue };
        let percent = if was == 0.0 { 0.0 } else { (is / was - 1.0) * 100.0 };
        lines.push(format!("{key:<48} {measure:<10} {was:>10.3} {is:>10.3} {percent:>+7.1} %"));
    }
    let about = |run: &Value| format!("{} ({})", run["date"], run["commit"]).replace('"', "");
    lines.insert(
        0,
        format!("\n{}, then {}; {}", about(before), about(after), machines(before, after)),
    );
    lines
}

fn machines(before: &Value, after: &Value) -> &'static str {
    if before["machine"] == after["machine"] { "one machine" } else { "on different machines" }
}

fn named(run: &Value) -> BTreeMap<String, &Value> {
    let rows = run["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = |row: &Value| {
        let words = NAMES.iter().filter_map(|name| match &row[name] {
            Value::Null => None,
            Value::String(word) => Some(word.clone()),
            other => Some(format!("{name}={other}")),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(|row| (key(row), row)).collect()
}
