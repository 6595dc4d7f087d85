//! Who may wait for the hasher: a bounded line, part of which is kept for browsers that have signed in before.
//!
//! Whoever may wait has a place, from before the attempt is counted until its hash is made. Strangers together never take the last
//! places, so a flood of guesses leaves room for the people who live here; and no account takes more than a few of those, so that
//! somebody who has one cannot fill them either.

use crate::domain::row_id::RowId;

/// How many of the kept places one account may hold.
const PER_ACCOUNT: usize = 2;

/// In which line somebody asks to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A browser that has proven it signed in to this very account before.
    Known(RowId),
    /// Everybody else.
    Unknown,
}

/// How many wait or are served, and in which line.
#[derive(Debug, Default)]
pub struct Places {
    /// All places there are.
    total: usize,
    /// The last ones, which strangers do not get.
    kept: usize,
    /// What known browsers may have at most: the rest is left for those who sign in for the first time.
    for_known: usize,
    unknown: usize,
    /// The account of each known one: few, so looking through them is cheap.
    known: Vec<RowId>,
}

impl Places {
    /// As many as are served at once and may wait.
    pub fn new(served: usize, waiting: usize) -> Self {
        let kept = waiting.div_ceil(4);
        Self { total: served + waiting, kept, for_known: served + kept, ..Self::default() }
    }

    /// A place, and in which line it is: a known browser that finds no kept one waits with the others. `None`: there is no room.
    pub fn take(&mut self, standing: Standing) -> Option<Standing> {
        if self.unknown + self.known.len() >= self.total {
            return None;
        }
        if let Standing::Known(account) = standing
            && self.known.len() < self.for_known
            && self.known.iter().filter(|other| **other == account).count() < PER_ACCOUNT
        {
            self.known.push(account);
            return Some(standing);
        }
        if self.unknown + self.kept >= self.total {
            return None;
        }
        self.unknown += 1;
        Some(Standing::Unknown)
    }

    /// Gives a place back that [`take`](Self::take) gave in that line.
    pub fn give_back(&mut self, line: Standing) {
        match line {
            Standing::Unknown => self.unknown = self.unknown.saturating_sub(1),
            Standing::Known(account) => {
                if let Some(place) = self.known.iter().position(|other| *other == account) {
                    self.known.swap_remove(place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(account: i64) -> Standing {
        Standing::Known(RowId::new(account))
    }

    #[test]
    fn strangers_never_take_the_places_that_are_kept() {
        let mut places = Places::new(2, 8);
        for taken in 0..8 {
            assert_eq!(places.take(Standing::Unknown), Some(Standing::Unknown), "{taken}");
        }
        assert_eq!(places.take(Standing::Unknown), None);
        assert_eq!(places.take(known(1)), Some(known(1)));
        assert_eq!(places.take(known(2)), Some(known(2)));
        assert_eq!(places.take(known(3)), None, "the line has an end for everybody");
        places.give_back(known(1));
        assert_eq!(places.take(Standing::Unknown), None, "nor one that is free again");
        assert_eq!(places.take(known(3)), Some(known(3)));
        places.give_back(Standing::Unknown);
        assert_eq!(places.take(Standing::Unknown), Some(Standing::Unknown), "that was theirs");
    }

    #[test]
    fn one_account_takes_two_of_them_and_then_waits_with_the_others() {
        let mut places = Places::new(2, 8);
        assert_eq!(places.take(known(1)), Some(known(1)));
        assert_eq!(places.take(known(1)), Some(known(1)));
        assert_eq!(places.take(known(1)), Some(Standing::Unknown));
        assert_eq!(places.take(known(2)), Some(known(2)));
    }

    #[test]
    fn many_accounts_leave_room_for_those_who_sign_in_for_the_first_time() {
        let mut places = Places::new(2, 8);
        let lines: Vec<_> = (0..6).filter_map(|account| places.take(known(account))).collect();
        assert_eq!(lines.iter().filter(|line| **line != Standing::Unknown).count(), 4);
        assert_eq!(places.take(Standing::Unknown), Some(Standing::Unknown));
    }

    #[test]
    fn the_smallest_line_still_serves_a_stranger() {
        let mut places = Places::new(1, 1);
        assert_eq!(places.take(Standing::Unknown), Some(Standing::Unknown));
        assert_eq!(places.take(Standing::Unknown), None);
        assert_eq!(places.take(known(1)), Some(known(1)));
    }
}
