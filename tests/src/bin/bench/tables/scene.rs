//! One table with its server, and the requests that are spread over it.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::crowd::Crowd;
use super::place::Place;
use super::{Asked, Output, Plan, round};
use crate::load::{Answer, Traffic, run};
use crate::machine::now;
use crate::measure::Round;
use crate::state::{CONNECTIONS, MACHINE, Web};
use crate::traffic::{Again, Rotation, introspection, member};

/// The most tokens of one kind of request. More than one round uses up, and each meets a page of its own.
const SPREAD: u64 = 100_000;
/// Access tokens that are introspected: few enough to be remembered, and their grants lie far apart.
const ACCESS: u64 = 1_000;

/// A table that is measured.
#[derive(Debug)]
pub struct Scene {
    /// The server and its store.
    pub place: Place,
    /// The rows.
    pub crowd: Crowd,
    rotation: Rotation,
    refresh: Again,
    access: Again,
}

impl Scene {
    /// Stores that many tokens and starts a server on them.
    pub async fn set(plan: &Plan<'_>, count: u64, output: &mut Output) -> Result<Self> {
        let web = Web::ALL[0];
        let mut place = Place::open(plan.folder, plan.engine.1).await?;
        place.stop()?;
        let begin = now();
        let crowd = Crowd::store(&place.seeder, web, count).await?;
        let seconds = begin.elapsed().as_secs_f64();
        place.read_through().await?;
        let megabytes = place.bytes() as f64 / 1e6;
        let size =
            if plan.engine.1.is_none() { format!(", {megabytes:.0} MB") } else { String::new() };
        let text = format!(
            "{}: {count} live refresh tokens stored in {seconds:.1} s{size}",
            plan.engine.0
        );
        let value = json!({ "figure": "table-stored", "engine": plan.engine.0, "tokens": count, "seconds": seconds, "megabytes": megabytes });
        output.line(&text, value);
        place.start()?;
        let of_each = of_each(count);
        let rotation = rotation(&place, &crowd, 0, of_each);
        let tokens = crowd.spread(of_each, 2 * of_each).map(|at| crowd.token(&place.seeder, at));
        let ask = |token: String| introspection(&web.id(), &token);
        let refresh = Again::of(tokens.map(ask).collect(), "\"active\":true");
        let from = 2 * of_each;
        let until = from + of_each.min(ACCESS);
        let mut collecting = Collecting {
            rotation: rotation_of(&place, &crowd, crowd.spread(from, until)),
            left: until - from,
            tokens: Vec::new(),
        };
        run(place.auth()?.addr, CONNECTIONS, Duration::from_secs(300), &mut collecting).await?;
        let asks = collecting.tokens.iter().map(|token| introspection(MACHINE, token));
        let access = Again::of(asks.collect(), "\"active\":true");
        Ok(Self { place, crowd, rotation, refresh, access })
    }

    /// One round of a row.
    pub async fn round(
        &mut self,
        asked: Asked,
        connections: usize,
        time: Duration,
        warm_up: Duration,
    ) -> Result<Round> {
        let traffic: &mut dyn Traffic = match asked {
            Asked::Rotation => &mut self.rotation,
            Asked::Refresh => &mut self.refresh,
            Asked::Access => &mut self.access,
        };
        round(&self.place, connections, time, warm_up, traffic).await
    }

    /// Rotations of tokens that nothing else uses, in the rows from `first` on.
    pub fn others(&self, first: u64) -> Rotation {
        let of_each = of_each(self.crowd.count);
        let rows = self.crowd.spread(3 * of_each, 4 * of_each).filter(|row| *row >= first);
        rotation_of(&self.place, &self.crowd, rows)
    }
}

/// How many tokens of a table each kind of request has for itself; there are four kinds.
fn of_each(count: u64) -> u64 {
    SPREAD.min(count / 4)
}

/// Rotations of a stretch of the spread order.
pub fn rotation(place: &Place, crowd: &Crowd, from: u64, until: u64) -> Rotation {
    rotation_of(place, crowd, crowd.spread(from, until))
}

fn rotation_of(place: &Place, crowd: &Crowd, rows: impl Iterator<Item = u64>) -> Rotation {
    Rotation::of(crowd.web, rows.map(|row| crowd.token(&place.seeder, row)).collect())
}

/// Rotates tokens once each and keeps the access tokens.
struct Collecting {
    rotation: Rotation,
    left: u64,
    tokens: Vec<String>,
}

impl Traffic for Collecting {
    fn request(&mut self, connection: usize, into: &mut Vec<u8>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        self.rotation.request(connection, into)
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> bool {
        let token = member(answer.body, "access_token");
        self.tokens.extend(token.map(str::to_owned));
        self.rotation.answer(connection, answer) && token.is_some()
    }
}
