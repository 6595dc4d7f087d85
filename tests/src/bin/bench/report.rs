//! The table: for people, and as JSON for comparison over time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::measure::{Round, counters, median};
use crate::rows::{Row, Target};
use crate::signatures::Timings;
use crate::tables::{Output, Plan};

/// The signatures, and the table of these rows with their rounds.
pub fn table<'a>(
    plan: &Plan<'_>,
    rows: impl Iterator<Item = &'a Row>,
    taken: &[Vec<(Round, Round)>],
    timings: &Timings,
    output: &mut Output,
) {
    let engine = plan.engine.0;
    for (operation, micros) in timings {
        let figure = Figure::of(operation.clone(), *micros, "µs");
        output.line(&format!("{operation}: {micros:.1} µs"), figure.json(engine));
    }
    if !output.json {
        println!("\n{}", head());
    }
    for (row, taken) in rows.zip(taken) {
        let measured = Measured::of(row, engine, taken, counters(row, engine), timings);
        output.line(&measured.line(), measured.json());
    }
}

/// A figure below the table.
#[derive(Debug)]
pub struct Figure {
    name: String,
    /// Or why there is none.
    value: Result<f64, String>,
    unit: &'static str,
    most: Option<f64>,
    beside: Vec<(&'static str, f64)>,
}

impl Figure {
    /// Without a target.
    pub fn of(name: String, value: f64, unit: &'static str) -> Self {
        Self { name, value: Ok(value), unit, most: None, beside: Vec::new() }
    }

    /// One that this machine does not allow to measure.
    pub fn skipped(name: String, why: String) -> Self {
        Self { name, value: Err(why), unit: "", most: None, beside: Vec::new() }
    }

    /// What it may be at most.
    pub fn most(mut self, most: f64) -> Self {
        self.most = Some(most);
        self
    }

    /// A figure that explains it.
    pub fn beside(mut self, name: &'static str, value: f64) -> Self {
        self.beside.push((name, value));
        self
    }

    /// Whether it is what it has to be.
    fn met(&self) -> Option<bool> {
        Some(*self.value.as_ref().ok()? <= self.most?)
    }

    /// A line below the table.
    pub fn line(&self, engine: &str) -> String {
        let Self { name, value, unit, most, beside } = self;
        let value = match value {
            Ok(value) => value,
            Err(why) => return format!("{name:<40}{engine:<9}not measured: {why}"),
        };
        let verdict = verdict(self.met() == Some(true));
        let target = most.map(|most| format!("at most {most}: {verdict}")).unwrap_or_default();
        let beside = beside.iter().map(|(name, value)| format!("{name} {value:.0}"));
        let beside = beside.collect::<Vec<_>>().join(", ");
        let line = format!("{name:<40}{engine:<9}{value:>9.1} {unit:<3} {target:<20} {beside}");
        line.trim_end().to_owned()
    }

    /// The same for machines.
    pub fn json(&self, engine: &str) -> Value {
        let beside = self.beside.iter().copied().collect::<BTreeMap<_, _>>();
        json!({
            "figure": self.name, "engine": engine, "value": self.value.as_ref().ok(), "unit": self.unit, "most": self.most,
            "met": self.met(), "beside": beside, "skipped": self.value.as_ref().err(),
        })
    }
}

/// How much a counter of the server grew for each answer.
#[derive(Debug)]
struct Counted {
    name: &'static str,
    each: f64,
    /// What it may be at most.
    most: Option<f64>,
}

impl Counted {
    fn met(&self) -> Option<bool> {
        Some(self.each <= self.most?)
    }

    fn text(&self) -> String {
        let Self { name, each, most } = self;
        let name = name.trim_start_matches("database_").trim_end_matches("_total");
        let verdict = self.met().map(verdict);
        let judged =
            most.zip(verdict).map(|(most, verdict)| format!(" (at most {most}: {verdict})"));
        format!(" {name} {each:.3}{}", judged.unwrap_or_default())
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

/// What a row came to.
#[derive(Debug)]
pub struct Measured {
    name: String,
    engine: &'static str,
    rate: f64,
    bare_rate: f64,
    /// Medians of the shares in each round.
    share: f64,
    cpu: f64,
    bare_cpu: f64,
    cpu_share: f64,
    p50: f64,
    p99: f64,
    answers: u64,
    counted: Vec<Counted>,
    target: Option<(String, bool)>,
}

impl Measured {
    /// Draws the rounds together; each is the row's and the bare endpoint's right before it.
    pub fn of(
        row: &Row,
        engine: &'static str,
        rounds: &[(Round, Round)],
        counters: &[&'static str],
        timings: &Timings,
    ) -> Self {
        let own = |of: fn(&Round) -> f64| median(rounds.iter().map(|(_, row)| of(row)));
        let bare = |of: fn(&Round) -> f64| median(rounds.iter().map(|(bare, _)| of(bare)));
        let share =
            median(rounds.iter().map(|(bare, row)| row.outcome.rate() / bare.outcome.rate()));
        let counted = counters.iter().enumerate().map(|(at, name)| {
            let figures = rounds.iter().filter_map(|(_, row)| row.counted.get(at).copied());
            // As targets are: what it takes on PostgreSQL is shown, and judged nowhere.
            let most = row.most(name).filter(|_| engine == "sqlite");
            Counted { name, each: median(figures), most }
        });
        let (cpu, bare_cpu) = (own(|round| round.cpu), bare(|round| round.cpu));
        // Each round's own: the pair was measured side by side.
        let cpu_share = median(rounds.iter().map(|(bare, row)| bare.cpu / row.cpu.max(1e-9)));
        Self {
            name: row.name.clone(),
            engine,
            rate: own(|round| round.outcome.rate()),
            bare_rate: bare(|round| round.outcome.rate()),
            share,
            cpu,
            bare_cpu,
            cpu_share,
            p50: own(|round| f64::from(round.outcome.percentile(0.50))),
            p99: own(|round| f64::from(round.outcome.percentile(0.99))),
            answers: rounds.iter().map(|(_, row)| row.outcome.answers).sum(),
            counted: counted.collect(),
            target: judge(row.target, cpu_share, cpu, bare_cpu, timings)
                .filter(|_| engine == "sqlite"),
        }
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let target = self.target.as_ref().map(|(text, met)| format!("{text}: {}", verdict(*met)));
        let counted: String = self.counted.iter().map(Counted::text).collect();
        format!(
            "{:<26}{:<9}{:>9.0}{:>9.0}{:>7.3}{:>9.1}{:>8.1}{:>7.3}{:>9.0}{:>9.0}  {}{counted}",
            self.name,
            self.engine,
            self.rate,
            self.bare_rate,
            self.share,
            self.cpu,
            self.bare_cpu,
            self.cpu_share,
            self.p50,
            self.p99,
            target.unwrap_or_default(),
        )
    }

    /// The same for machines.
    pub fn json(&self) -> Value {
        let each = self.counted.iter().map(|counted| (counted.name, counted.each));
        let judged = self.counted.iter().filter(|counted| counted.most.is_some());
        let judged = judged.map(|counted| {
            json!({ "counter": counted.name, "most": counted.most, "met": counted.met() })
        });
        json!({
            "row": self.name, "engine": self.engine, "answers": self.answers,
            "rate": self.rate, "bare_rate": self.bare_rate, "share": self.share,
            "cpu_micros": self.cpu, "bare_cpu_micros": self.bare_cpu, "cpu_share": self.cpu_share,
            "p50_micros": self.p50, "p99_micros": self.p99,
            "per_answer": each.collect::<BTreeMap<_, _>>(),
            "per_answer_targets": judged.collect::<Vec<_>>(),
            "target": self.target.as_ref().map(|(text, met)| json!({ "text": text, "met": met })),
        })
    }
}

/// What stands above the lines.
pub fn head() -> String {
    format!(
        "{:<26}{:<9}{:>9}{:>9}{:>7}{:>9}{:>8}{:>7}{:>9}{:>9}  {}",
        "row",
        "engine",
        "per s",
        "bare/s",
        "share",
        "cpu µs",
        "bare",
        "share",
        "p50 µs",
        "p99 µs",
        "target"
    )
}

/// Shares are judged by processor time: where the server's processor is the bottleneck they are those of the rates, and where the load or
/// a neighbor of this machine is, the rates say nothing.
fn judge(
    target: Target,
    share: f64,
    cpu: f64,
    bare_cpu: f64,
    timings: &Timings,
) -> Option<(String, bool)> {
    let time = |operation| timings.get(operation).copied().unwrap_or(f64::NAN);
    match target {
        Target::None => None,
        Target::Share(least) => Some((format!("cpu share at least {least:.2}"), share >= least)),
        Target::Times(most, operation) => {
            let times = cpu / time(operation);
            let text = format!("cpu {times:.2} of {operation}, at most {most:.2}");
            Some((text, times <= most))
        }
        Target::Added(most, operation) => {
            let times = (cpu - bare_cpu) / time(operation);
            let text = format!("added cpu {times:.2} of {operation}, at most {most:.2}");
            Some((text, times <= most))
        }
    }
}
