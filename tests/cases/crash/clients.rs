//! A client under the blows: it signs people in, works with what it gets, and compares after every blow.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tests::browser::Browser;

use super::ledger::Op;
use super::visit::{Visit, Wire};
use super::wire::Run;

/// The people of each client. A sign-in that is killed counts as failed, and few of those may come together for one account.
pub const PEOPLE: usize = 32;
/// The password of all of them.
pub const PASSWORD: &str = "correct horse battery staple";
/// How many grants a visit makes at most.
const GRANTS: usize = 4;

/// The name of a person.
pub fn username(client: usize, person: usize) -> String {
    format!("person-{client}-{person}")
}

/// Works until the run stops; gives back every visit.
pub async fn work(run: Arc<Run>, number: usize) -> Vec<Visit> {
    let mut dice = ChaCha12Rng::seed_from_u64(run.seed.wrapping_add(1 + number as u64));
    let wire = Wire::new(&run);
    let mut agreed = [[false; 2]; PEOPLE];
    let mut visits = Vec::new();
    let mut person = 0;
    while !run.is_stopped() {
        let browser;
        (person, browser) = sign_in(&wire, number, (person + 1) % PEOPLE).await;
        let name = (number, visits.len() as u64);
        let mut visit = Visit::new(&wire, name, browser, agreed[person]);
        stay(&run, &mut visit, &mut dice).await;
        agreed[person] = visit.agreed;
        visits.push(visit);
    }
    visits
}

/// Signs the first of the people in that is let in, and says who it was.
async fn sign_in(wire: &Wire, number: usize, first: usize) -> (usize, Browser) {
    let url = wire.web.begin(super::visit::SIGN_IN_SCOPE, &format!("sign-in-{number}")).url();
    let mut person = first;
    loop {
        let mut browser = Browser::with(wire.http.clone());
        let Ok(page) = wire.open(&mut browser, &url).await else {
            wire.run.until_up().await;
            continue;
        };
        let form = page.form("login-form").set("username", &username(number, person));
        let form = form.set("password", PASSWORD).press("login-submit");
        let Ok(page) = wire.shown(browser.try_submit(&page, &form)).await else {
            wire.run.unknown.fetch_add(1, Ordering::Relaxed);
            wire.run.until_up().await;
            continue;
        };
        if page.status() == 429 {
            wire.run.waits.fetch_add(1, Ordering::Relaxed);
            person = (person + 1) % PEOPLE;
            continue;
        }
        assert!(browser.cookie("127.0.0.1", "as_session").is_some(), "{}", page.text());
        wire.run.acknowledge();
        return (person, browser);
    }
}

/// What a person and the client do until the person leaves.
async fn stay(run: &Run, visit: &mut Visit, dice: &mut ChaCha12Rng) {
    let steps = 12 + dice.next_u32() % 16;
    let mut life = run.life.load(Ordering::Relaxed);
    for _ in 0..steps {
        let ops = draw(visit, dice);
        visit.act(&ops).await;
        let now = run.life.load(Ordering::Relaxed);
        if now != life {
            life = now;
            visit.ledger.note(&format!("kill {life}"));
            visit.audit().await;
        }
    }
    while visit.ledger.must(Op::IsSignedIn) != Some(false) {
        visit.act(&[Op::SignOut]).await;
    }
    visit.audit().await;
}

/// Draws what comes next: one request, or two at once.
fn draw(visit: &Visit, dice: &mut ChaCha12Rng) -> Vec<Op> {
    let mut choices: Vec<(u32, Vec<Op>)> = vec![(3, vec![Op::ClientCredentials])];
    let grants = visit.ledger.grants();
    if grants < GRANTS {
        let offline = dice.next_u32().is_multiple_of(3);
        choices.push((if grants == 0 { 30 } else { 5 }, vec![Op::Authorize { offline }]));
    }
    for grant in 0..grants {
        for_grant(visit, grant, &mut choices);
    }
    if let Some(token) = visit.ledger.access_tokens().checked_sub(1) {
        choices.push((2, vec![Op::Deny(token)]));
    }
    if grants > 0 {
        choices.push((1, vec![Op::SignOut]));
    }
    let all: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut at = dice.next_u32() % all;
    for (weight, ops) in choices {
        if at < weight {
            return ops;
        }
        at -= weight;
    }
    unreachable!("it is below the sum")
}

fn for_grant(visit: &Visit, grant: usize, choices: &mut Vec<(u32, Vec<Op>)>) {
    let Some(newest) = visit.ledger.newest(grant) else {
        if !visit.is_closed(grant) {
            choices.push((16, vec![Op::Redeem(grant)]));
            choices.push((2, vec![Op::Redeem(grant), Op::Redeem(grant)]));
        }
        return;
    };
    let refresh = Op::Refresh(grant, newest);
    if visit.is_closed(grant) {
        choices.push((1, vec![refresh]));
        return;
    }
    choices.push((16, vec![refresh]));
    choices.push((4, vec![refresh, refresh]));
    choices.push((1, vec![refresh, Op::Revoke(grant, newest)]));
    choices.push((1, vec![refresh, Op::SignOut]));
    choices.push((1, vec![Op::Revoke(grant, newest)]));
    choices.push((1, vec![Op::Redeem(grant)]));
    for (back, weight) in [(1, 3), (2, 1)] {
        let old = newest.checked_sub(back).filter(|old| visit.ledger.token(grant, *old).is_some());
        choices.extend(old.map(|old| (weight, vec![Op::Refresh(grant, old)])));
    }
}
