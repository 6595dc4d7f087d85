//! A signature key in its life, without its halves: what it may be used for, and since when.

use shared_types::{KeyId, SigningAlg, UnixSeconds};

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Published, and signs next.
    Announced,
    /// Published, and signs.
    Signing,
    /// Published while tokens of it may live; without its private half.
    Retired,
    /// Published no more, but still proves an `id_token_hint`.
    Withdrawn,
    /// Counts for nothing, since somebody else may have it.
    Revoked,
}

impl State {
    const ALL: [Self; 5] =
        [Self::Announced, Self::Signing, Self::Retired, Self::Withdrawn, Self::Revoked];

    /// The word in its column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Withdrawn => "withdrawn",
            Self::Revoked => "revoked",
        }
    }

    /// The state of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it stands in the JWK Set.
    pub const fn is_published(self) -> bool {
        matches!(self, Self::Announced | Self::Signing | Self::Retired)
    }
}

/// A key as its row has it, and as the plan sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub kid: KeyId,
    /// Its algorithm.
    pub alg: SigningAlg,
    /// What it may be used for.
    pub state: State,
    /// When it was published.
    pub announced_at: UnixSeconds,
    /// When it began to sign.
    pub signing_at: Option<UnixSeconds>,
    /// When it stopped.
    pub retired_at: Option<UnixSeconds>,
    /// When it left the published set, by age or by revocation.
    pub withdrawn_at: Option<UnixSeconds>,
}
