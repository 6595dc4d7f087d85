//! What one signed-in browser and its tokens must be worth by all that was answered so far. It knows the rules, not the server: it
//! shares no code with it and never looks into its database.
//!
//! A request without an answer may have happened or not. So the ledger keeps every state that is still possible; each answer strikes
//! out those that do not fit. When none is left, the server lost something, did it twice, or changed its mind.

use std::collections::BTreeSet;
use std::fmt;

/// How often the token before the current one is answered again, as the server's settings have it.
pub const RETRIES: u32 = 5;
/// How much of the history a fault tells.
const TOLD: usize = 60;

/// A request. Grants and access tokens are numbers in the order in which the ledger heard of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// An authorization request in the browser; whether the grant outlives its session.
    Authorize { offline: bool },
    /// The grant's code is redeemed.
    Redeem(usize),
    /// The grant's refresh token of this generation is used.
    Refresh(usize, u32),
    /// The grant's refresh token of this generation is given back.
    Revoke(usize, u32),
    /// A client asks for an access token of its own.
    ClientCredentials,
    /// An access token is given back.
    Deny(usize),
    /// The person signs out.
    SignOut,
    /// Does the refresh token of this generation count?
    IsCurrent(usize, u32),
    /// Does the access token count?
    IsLive(usize),
    /// Is the browser signed in?
    IsSignedIn,
}

impl Op {
    /// Whether it only asks.
    pub fn only_asks(self) -> bool {
        matches!(self, Self::IsCurrent(..) | Self::IsLive(_) | Self::IsSignedIn)
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or "try again later": it happened or not.
    Unknown,
    /// No.
    Refused,
    /// A code, for the next grant.
    Code,
    /// A refresh token, and with it the next access token.
    Tokens(String),
    /// The next access token alone.
    AccessToken,
    /// It is done.
    Done,
    /// What was asked is so, or is not.
    Is(bool),
}

/// What the rules say to a request: [`Answer`] without the words of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    Code,
    Tokens,
    AccessToken,
    Done,
    Is(bool),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    offline: bool,
    spent: bool,
    ended: bool,
    generation: u32,
    retries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AccessToken {
    /// `None`: the client's own.
    grant: Option<usize>,
    denied: bool,
}

/// One state that is possible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    signed_in: bool,
    grants: Vec<Grant>,
    access: Vec<AccessToken>,
}

impl World {
    fn lives(&self, grant: usize) -> bool {
        let grant = &self.grants[grant];
        !grant.ended && (grant.offline || self.signed_in)
    }

    /// Lets a request happen.
    fn step(&mut self, op: Op) -> Verdict {
        match op {
            Op::Authorize { .. } if self.signed_in => Verdict::Code,
            Op::Authorize { .. } => Verdict::Refused,
            Op::ClientCredentials => Verdict::AccessToken,
            Op::Redeem(grant) => self.redeem(grant),
            Op::Refresh(grant, generation) => self.refresh(grant, generation),
            Op::Revoke(grant, _) => {
                self.grants[grant].ended = true;
                Verdict::Done
            }
            Op::Deny(token) => {
                self.access[token].denied = true;
                Verdict::Done
            }
            Op::SignOut => {
                self.signed_in = false;
                Verdict::Done
            }
            Op::IsCurrent(grant, generation) => {
                let Grant { spent, generation: current, .. } = self.grants[grant];
                Verdict::Is(self.lives(grant) && spent && current == generation)
            }
            Op::IsLive(token) => {
                let AccessToken { grant, denied } = self.access[token];
                Verdict::Is(!denied && grant.is_none_or(|grant| self.lives(grant)))
            }
            Op::IsSignedIn => Verdict::Is(self.signed_in),
        }
    }

    /// Once; a replay ends the grant (RFC 6749 section 4.1.2).
    fn redeem(&mut self, number: usize) -> Verdict {
        let lives = self.lives(number);
        let grant = &mut self.grants[number];
        if grant.spent {
            grant.ended = true;
            return Verdict::Refused;
        }
        grant.spent = lives;
        if lives { Verdict::Tokens } else { Verdict::Refused }
    }

    /// The current token rotates, the one before it tells the same successor a few times more, any other one ends the family.
    fn refresh(&mut self, number: usize, generation: u32) -> Verdict {
        let lives = self.lives(number);
        let grant = &mut self.grants[number];
        if !lives || !grant.spent || generation > grant.generation {
            return Verdict::Refused;
        }
        if generation == grant.generation {
            (grant.generation, grant.retries) = (generation + 1, 0);
            return Verdict::Tokens;
        }
        if generation + 1 == grant.generation && grant.retries < RETRIES {
            grant.retries += 1;
            return Verdict::Tokens;
        }
        grant.ended = true;
        Verdict::Refused
    }
}

/// The ledger contradicts the server.
#[derive(Debug)]
pub struct Fault {
    what: String,
    history: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.history.len().saturating_sub(TOLD);
        write!(f, "{}\n  {}", self.what, self.history[from..].join("\n  "))
    }
}

/// The ledger of one browser from its sign-in on.
#[derive(Clone, Debug)]
pub struct Ledger {
    worlds: BTreeSet<World>,
    /// The refresh tokens of each grant by generation, as far as they were told.
    tokens: Vec<Vec<Option<String>>>,
    /// How many access tokens it has heard of.
    access: usize,
    history: Vec<String>,
}

impl Ledger {
    /// Somebody was told to be signed in.
    pub fn signed_in() -> Self {
        let world = World { signed_in: true, grants: Vec::new(), access: Vec::new() };
        Self { worlds: BTreeSet::from([world]), tokens: Vec::new(), access: 0, history: Vec::new() }
    }

    /// How many grants there are.
    pub fn grants(&self) -> usize {
        self.tokens.len()
    }

    /// How many access tokens there are.
    pub fn access_tokens(&self) -> usize {
        self.access
    }

    /// A refresh token, if it was told.
    pub fn token(&self, grant: usize, generation: u32) -> Option<&str> {
        self.tokens[grant].get(usize::try_from(generation).ok()?)?.as_deref()
    }

    /// The newest refresh token of a grant that was told, by its generation.
    pub fn newest(&self, grant: usize) -> Option<u32> {
        let last = self.tokens[grant].iter().rposition(Option::is_some)?;
        u32::try_from(last).ok()
    }

    /// What a question must be answered with; `None` as long as both are possible.
    pub fn must(&self, question: Op) -> Option<bool> {
        let mut verdicts = self.worlds.iter().map(|world| world.clone().step(question));
        let first = verdicts.next()?;
        match first {
            Verdict::Is(so) if verdicts.all(|other| other == first) => Some(so),
            _ => None,
        }
    }

    /// Writes down what happened outside of it, for whoever reads a fault.
    pub fn note(&mut self, what: &str) {
        self.history.push(what.to_owned());
    }

    /// A request and what came back.
    pub fn enter(&mut self, op: Op, answer: Answer) -> Result<(), Fault> {
        self.enter_all(&[(op, answer)])
    }

    /// Requests that were under way together: any order of them may be the one that happened.
    pub fn enter_all(&mut self, calls: &[(Op, Answer)]) -> Result<(), Fault> {
        for (op, answer) in calls {
            self.history.push(format!("{op:?} → {}", brief(answer)));
        }
        let mut next = BTreeSet::new();
        for order in orders(calls) {
            let mut worlds = self.worlds.clone();
            for (op, answer) in order {
                worlds = worlds.iter().flat_map(|world| after(world, *op, answer)).collect();
            }
            next.extend(worlds);
        }
        if next.is_empty() {
            return Err(
                self.fault(&format!("no possible state explains this; before: {:?}", self.worlds))
            );
        }
        self.worlds = next;
        calls.iter().try_for_each(|(op, answer)| self.take(*op, answer))
    }

    /// Takes what an answer brought.
    fn take(&mut self, op: Op, answer: &Answer) -> Result<(), Fault> {
        match (op, answer) {
            (Op::Authorize { offline }, Answer::Code) => {
                self.tokens.push(Vec::new());
                let new = Grant { offline, spent: false, ended: false, generation: 0, retries: 0 };
                self.extend(|world| world.grants.push(new.clone()));
            }
            (Op::Redeem(grant), Answer::Tokens(token)) => {
                self.name(grant, 0, token)?;
                self.add_access(Some(grant));
            }
            (Op::Refresh(grant, generation), Answer::Tokens(token)) => {
                self.name(grant, generation + 1, token)?;
                self.add_access(Some(grant));
            }
            (Op::ClientCredentials, Answer::AccessToken) => self.add_access(None),
            _ => {}
        }
        Ok(())
    }

    fn add_access(&mut self, grant: Option<usize>) {
        self.access += 1;
        self.extend(|world| world.access.push(AccessToken { grant, denied: false }));
    }

    fn extend(&mut self, add: impl Fn(&mut World)) {
        let worlds = std::mem::take(&mut self.worlds);
        self.worlds = worlds
            .into_iter()
            .map(|mut world| {
                add(&mut world);
                world
            })
            .collect();
    }

    /// A generation has one token for ever, and a token one place.
    fn name(&mut self, grant: usize, generation: u32, token: &str) -> Result<(), Fault> {
        let at = usize::try_from(generation).unwrap();
        match self.token(grant, generation) {
            Some(known) if known == token => return Ok(()),
            Some(_) => {
                return Err(self.fault(&format!("grant {grant} has two tokens {generation}")));
            }
            None => {}
        }
        if self.tokens.iter().flatten().flatten().any(|known| known == token) {
            return Err(
                self.fault(&format!("token {generation} of grant {grant} was given before"))
            );
        }
        let tokens = &mut self.tokens[grant];
        tokens.resize(tokens.len().max(at + 1), None);
        tokens[at] = Some(token.to_owned());
        Ok(())
    }

    fn fault(&self, what: &str) -> Fault {
        Fault { what: what.to_owned(), history: self.history.clone() }
    }
}

/// The states that are possible after a request and its answer.
fn after(world: &World, op: Op, answer: &Answer) -> Vec<World> {
    let mut next = world.clone();
    let verdict = next.step(op);
    let told = match answer {
        Answer::Unknown => return vec![world.clone(), next],
        Answer::Refused => Verdict::Refused,
        Answer::Code => Verdict::Code,
        Answer::Tokens(_) => Verdict::Tokens,
        Answer::AccessToken => Verdict::AccessToken,
        Answer::Done => Verdict::Done,
        Answer::Is(so) => Verdict::Is(*so),
    };
    if verdict == told { vec![next] } else { Vec::new() }
}

/// Every order of one or two calls.
fn orders(calls: &[(Op, Answer)]) -> Vec<Vec<&(Op, Answer)>> {
    assert!(calls.len() <= 2, "more orders than are written out here");
    let mut orders = vec![calls.iter().collect::<Vec<_>>()];
    if calls.len() == 2 {
        orders.push(calls.iter().rev().collect());
    }
    orders
}

/// A token's words are for nobody's log.
fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Tokens(_) => "Tokens".to_owned(),
        other => format!("{other:?}"),
    }
}
