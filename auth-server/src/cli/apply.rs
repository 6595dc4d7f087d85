//! `auth-server apply FILE`: prints the plan, then what changed. A second run has nothing to do.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::{self, Shown};
use super::{CliError, Workbench};
use crate::apply::{self, ApplyFault, Target};

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

/// Plans, prints, and unless it is a dry run carries out.
pub async fn run(bench: &Workbench, args: &Args) -> Result<(), CliError> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| {
        CliError::Faults(vec![format!("{} cannot be read: {error}", args.file.display())])
    })?;
    let folder = args.file.parent().unwrap_or(Path::new("."));
    let target = Target {
        settings: bench.settings.clone(),
        database: bench.database.clone(),
        clock: bench.clock.clone(),
        random: bench.random.clone(),
    };
    let changes = apply::plan(&target, &text, folder, args.prune).await?;
    let plan: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if !args.json {
        plan.iter().for_each(output::line);
    }
    let generated =
        if args.dry_run { Vec::new() } else { apply::carry_out(&target, changes).await? };
    let mut shown = Vec::new();
    for secret in generated {
        let label = format!("{}-{}", secret.kind, secret.owner);
        shown.push((
            secret.kind,
            secret.owner,
            output::show_once(&bench.settings, &label, &secret.secret)?,
        ));
    }
    report(args, &plan, &shown);
    Ok(())
}

fn report(args: &Args, plan: &[String], shown: &[(&str, String, Shown)]) {
    if args.json {
        let secrets: Vec<Value> = shown
            .iter()
            .map(|(kind, owner, shown)| {
                Value::Object(
                    [("owner".to_owned(), json!(owner)), shown.members(kind)].into_iter().collect(),
                )
            })
            .collect();
        output::json(&json!({ "changes": plan, "applied": !args.dry_run, "generated": secrets }));
        return;
    }
    for (kind, owner, shown) in shown {
        output::line(shown.sentence(&format!("{kind} of {owner}")));
    }
    let count = plan.len();
    output::line(match (count, args.dry_run) {
        (0, _) => "nothing to change".to_owned(),
        (_, true) => format!("{count} to change, nothing was changed"),
        (_, false) => format!("{count} changed"),
    });
}
