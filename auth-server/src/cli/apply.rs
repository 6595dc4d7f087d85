//! `auth-server apply FILE`: prints the plan, then what changed. A second run has nothing to do.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::{self, Shown};
use super::{CliError, Workbench};
use crate::apply::{self, ApplyFault, Change, DeclaredState, Known, Target, plan_beside};
use crate::config::Settings;

/// Its arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The declared state, TOML or JSON
    pub file: PathBuf,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also delete the APIs and clients that the file omits (never accounts)
    #[arg(long)]
    pub prune: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl From<ApplyFault> for CliError {
    fn from(fault: ApplyFault) -> Self {
        match fault {
            ApplyFault::Faults(faults) => Self::Faults(faults),
            ApplyFault::Store(error) => error.into(),
        }
    }
}

/// Reads the file, before any database is opened or made.
pub fn read(settings: &Settings, file: &Path) -> Result<DeclaredState, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::Faults(vec![format!("{} cannot be read: {error}", file.display())])
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Ok(apply::read(settings, &text, folder)?)
}

/// Plans, prints, and unless it is a dry run carries out.
pub async fn run(bench: &Workbench, args: &Args, state: &DeclaredState) -> Result<(), CliError> {
    let known = Known::load(&bench.database, state).await?;
    let changes = plan_beside(state, &known, args.prune).map_err(CliError::Faults)?;
    let (plan, told) = print_plan(args, &changes);
    if args.dry_run {
        return told.and(report(args, &plan, &[]));
    }
    let target = Target {
        settings: bench.settings.clone(),
        database: bench.database.clone(),
        clock: bench.clock.clone(),
        random: bench.random.clone(),
    };
    // Each secret is handed over at once: the next change may fail, and this one's owner needs it all the same.
    let (mut shown, mut lost) = (Vec::new(), Vec::new());
    let outcome =
        apply::carry_out_showing(&target, changes, &mut |secret| match output::show_once(
            &bench.settings,
            secret.kind,
            &secret.owner,
            &secret.secret,
        ) {
            Ok(place) if args.json => shown.push((secret.kind, secret.owner, place)),
            Ok(place) => {
                let (kind, owner) = (secret.kind, secret.owner);
                let text = place.sentence(&format!("{kind} of {owner}"));
                let printed = output::line_with([(kind, &*owner, &place)], text);
                lost.extend(printed.err().map(|error| error.to_string()));
            }
            Err(error) => lost.push(error.to_string()),
        })
        .await;
    let told = told.and(report(args, &plan, &shown));
    outcome?;
    if lost.is_empty() { told } else { Err(CliError::Failed(lost.join("\n"))) }
}

/// What of `state` holds nowhere, checked before a database is made for it.
pub fn check_on_nothing(args: &Args, state: &DeclaredState) -> Result<(), CliError> {
    plan_beside(state, &Known::default(), args.prune).map(drop).map_err(CliError::Faults)
}

/// The plan for a database that does not exist yet: everything is new, and nothing is made.
pub fn dry_run_on_nothing(args: &Args, state: &DeclaredState) -> Result<(), CliError> {
    let changes = plan_beside(state, &Known::default(), args.prune).map_err(CliError::Faults)?;
    let (plan, told) = print_plan(args, &changes);
    told.and(report(args, &plan, &[]))
}

/// The plan in words, and whether it could be printed. That is no reason to carry out half of it.
fn print_plan(args: &Args, changes: &[Change]) -> (Vec<String>, Result<(), CliError>) {
    let plan: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let told = if args.json { Ok(()) } else { plan.iter().try_for_each(output::line) };
    (plan, told)
}

fn report(args: &Args, plan: &[String], shown: &[(&str, String, Shown)]) -> Result<(), CliError> {
    if args.json {
        let secrets: Vec<Value> = shown
            .iter()
            .map(|(kind, owner, shown)| {
                let members = [("owner".to_owned(), json!(owner)), shown.members(kind)];
                Value::Object(members.into_iter().collect())
            })
            .collect();
        let value = json!({ "changes": plan, "applied": !args.dry_run, "generated": secrets });
        let secrets = shown.iter().map(|(kind, owner, shown)| (*kind, owner.as_str(), shown));
        return output::line_with(secrets, format_args!("{value:#}"));
    }
    let count = plan.len();
    output::line(match (count, args.dry_run) {
        (0, _) => "nothing to change".to_owned(),
        (_, true) => format!("{count} to change, nothing was changed"),
        (_, false) => format!("{count} changed"),
    })
}
