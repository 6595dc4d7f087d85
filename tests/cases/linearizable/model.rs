//! One grant as a sequential machine: what a code and the refresh tokens after it do when nobody else is there ([RFC 9700 section 4.14](https://www.rfc-editor.org/rfc/rfc9700#section-4.14)).

use stateright::semantics::SequentialSpec;

/// Retries that a generation has, as the settings have it by default.
const RETRIES: u32 = 5;

/// The name that the observer gives to a refresh token when it first sees it. Equal tokens have equal names; a name tells nothing of
/// the order in which tokens were made.
pub type Name = usize;

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The code is redeemed.
    Redeem,
    /// A refresh token is used.
    Refresh(Name),
    /// A refresh token is given back.
    Revoke(Name),
    /// A refresh token is asked about.
    Introspect(Name),
}

/// What they learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// Tokens, with this refresh token among them.
    Tokens(Name),
    /// `invalid_grant`.
    Refused,
    /// 200 without content.
    Done,
    /// Whether a token counts.
    Active(bool),
}

/// The state of a grant.
#[derive(Clone, Debug, Default)]
pub struct Family {
    spent: bool,
    ended: bool,
    /// The refresh tokens of the generations so far; the last one is good.
    names: Vec<Name>,
    retries: u32,
}

impl Family {
    /// The refresh token of the current generation is told. The first time anybody sees it, its name is free.
    fn tell(&mut self, generation: usize, told: Ret) -> bool {
        let Ret::Tokens(name) = told else { return false };
        if let Some(known) = self.names.get(generation) {
            return *known == name;
        }
        let is_new = !self.names.contains(&name);
        self.names.push(name);
        is_new
    }

    fn end(&mut self, told: Ret) -> bool {
        self.ended = true;
        told == Ret::Refused
    }

    fn redeem(&mut self, told: Ret) -> bool {
        if self.spent {
            // A replay ends what the code gave.
            return self.end(told);
        }
        self.spent = true;
        self.tell(0, told)
    }

    fn refresh(&mut self, generation: usize, told: Ret) -> bool {
        if self.ended {
            return told == Ret::Refused;
        }
        match self.names.len() - 1 - generation {
            0 => {
                self.retries = 0;
                self.tell(generation + 1, told)
            }
            1 if self.retries < RETRIES => {
                self.retries += 1;
                self.tell(generation + 1, told)
            }
            _ => self.end(told),
        }
    }

    fn revoke(&mut self, told: Ret) -> bool {
        self.ended = true;
        told == Ret::Done
    }

    fn introspect(&self, generation: usize, told: Ret) -> bool {
        told == Ret::Active(!self.ended && generation + 1 == self.names.len())
    }
}

impl SequentialSpec for Family {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, _: &Op) -> Ret {
        unreachable!(
            "a token's name is known from the answer only, so steps are judged, not foretold"
        )
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        let (name, told) = match *op {
            Op::Redeem => return self.redeem(*ret),
            Op::Refresh(name) | Op::Revoke(name) | Op::Introspect(name) => (name, *ret),
        };
        // Nobody has a token before it was told, so an order in which that happens is none.
        let Some(generation) = self.names.iter().position(|known| *known == name) else {
            return false;
        };
        match op {
            Op::Refresh(_) => self.refresh(generation, told),
            Op::Revoke(_) => self.revoke(told),
            _ => self.introspect(generation, told),
        }
    }
}

/// Histories that the model must refuse: without these a judge that says yes to everything would not be noticed.
mod tests {
    use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

    use super::*;

    /// One after the other, each by a thread of its own.
    fn is_possible(history: &[(Op, Ret)]) -> bool {
        let mut tester = LinearizabilityTester::new(Family::default());
        for (thread, (op, ret)) in history.iter().enumerate() {
            tester.on_invoke(thread, *op).unwrap().on_return(thread, *ret).unwrap();
        }
        tester.is_consistent()
    }

    /// All at once.
    fn is_possible_at_once(history: &[(Op, Ret)]) -> bool {
        let mut tester = LinearizabilityTester::new(Family::default());
        for (thread, (op, _)) in history.iter().enumerate() {
            tester.on_invoke(thread, *op).unwrap();
        }
        for (thread, (_, ret)) in history.iter().enumerate() {
            tester.on_return(thread, *ret).unwrap();
        }
        tester.is_consistent()
    }

    const REDEEMED: (Op, Ret) = (Op::Redeem, Ret::Tokens(0));

    #[test]
    fn an_ordinary_life_is_possible() {
        assert!(is_possible(&[
            REDEEMED,
            (Op::Refresh(0), Ret::Tokens(1)),
            (Op::Refresh(0), Ret::Tokens(1)),
            (Op::Introspect(0), Ret::Active(false)),
            (Op::Introspect(1), Ret::Active(true)),
            (Op::Refresh(1), Ret::Tokens(2)),
            (Op::Refresh(0), Ret::Refused),
            (Op::Refresh(2), Ret::Refused),
            (Op::Introspect(2), Ret::Active(false)),
        ]));
    }

    #[test]
    fn a_code_has_one_family_however_its_redemptions_overlap() {
        let twice = [REDEEMED, (Op::Redeem, Ret::Tokens(1))];
        assert!(!is_possible(&twice) && !is_possible_at_once(&twice));
        assert!(is_possible_at_once(&[(Op::Redeem, Ret::Refused), REDEEMED]));
        assert!(!is_possible(&[(Op::Redeem, Ret::Refused), REDEEMED]), "nobody was first");
    }

    #[test]
    fn a_token_has_one_successor() {
        let forked = [REDEEMED, (Op::Refresh(0), Ret::Tokens(1)), (Op::Refresh(0), Ret::Tokens(2))];
        assert!(!is_possible(&forked) && !is_possible_at_once(&forked));
        let seven = [[REDEEMED].as_slice(), &[(Op::Refresh(0), Ret::Tokens(1)); 7]].concat();
        assert!(!is_possible(&seven), "a successor is told six times at most");
    }

    #[test]
    fn nothing_lives_after_it_was_given_back() {
        let revoked = [REDEEMED, (Op::Revoke(0), Ret::Done)];
        for late in [
            (Op::Refresh(0), Ret::Tokens(1)),
            (Op::Introspect(0), Ret::Active(true)),
            (Op::Redeem, Ret::Tokens(1)),
        ] {
            assert!(!is_possible(&[revoked.as_slice(), &[late]].concat()), "{late:?}");
        }
    }

    #[test]
    fn a_replay_ends_the_family() {
        let replayed = [REDEEMED, (Op::Redeem, Ret::Refused), (Op::Refresh(0), Ret::Tokens(1))];
        assert!(!is_possible(&replayed));
    }
}
