//! What a person allowed a client: one row from the authorization code to the last refresh token of its family.

use shared_types::{ClientId, Scope, Subject, UnixSeconds};

use super::pkce::CodeChallenge;
use super::row_id::RowId;
use super::secret::SecretHash;

/// What is stored when `/authorize` hands out a code.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Of the code's secret.
    pub code_hash: SecretHash,
    /// From this second on the code is void; at most 600 s ahead ([RFC 6749 section 4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2)).
    pub code_expires_at: UnixSeconds,
    /// Where the answer went.
    pub redirect_uri: String,
    /// Whether the authorization request named it; then the token request must too.
    pub redirect_uri_sent: bool,
    /// The PKCE challenge (S256).
    pub code_challenge: Option<CodeChallenge>,
    /// For the ID token, unchanged.
    pub nonce: Option<String>,
    /// Who gave and who got it, and what of them must not have changed.
    pub parties: Parties,
    /// What was allowed.
    pub scope: Scope,
    /// The identifiers of the APIs that were asked for; empty: none was named.
    pub resources: Vec<String>,
    /// Whether refresh tokens belong to it (the client is registered for them).
    pub refreshable: bool,
    /// Whether it outlives the session (`offline_access` granted).
    pub offline: bool,
    /// Of the refresh tokens' derivation.
    pub salt: [u8; 16],
    /// The absolute end of the family.
    pub expires_at: UnixSeconds,
}

/// The parents of a grant, each with the epoch seen when it was made: it lives only while all of them still have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The client.
    pub client_id: ClientId,
    /// Its epoch.
    pub client_epoch: i64,
    /// The account's row.
    pub account_id: RowId,
    /// Its epoch.
    pub account_epoch: i64,
    /// The session's row.
    pub session_id: RowId,
    /// Its epoch.
    pub session_epoch: i64,
    /// The epoch of this person's consent for this client (0: consent was never stored).
    pub consent_epoch: i64,
    /// The person's public subject.
    pub subject: Subject,
    /// The session's public id, for the ID token.
    pub sid: String,
    /// When the person signed in.
    pub auth_time: UnixSeconds,
    /// How well.
    pub acr: String,
    /// By which methods.
    pub amr: Vec<String>,
}

/// A stored grant.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Its row.
    pub id: RowId,
    /// What was stored with the code.
    pub new: NewGrant,
    /// When the code was redeemed.
    pub spent_at: Option<UnixSeconds>,
    /// The number of the refresh token that is good now; 0 is the first.
    pub generation: u32,
    /// When that one was made.
    pub rotated_at: UnixSeconds,
    /// How often the one before it was answered again.
    pub retries: i64,
    /// When it ended before its time.
    pub ended_at: Option<UnixSeconds>,
    /// Whether client, account, consent and (unless offline) session still are what they were. Decided by the store's join.
    pub parents_live: bool,
}

/// Whom a live grant is about, as far as an access token has to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Who got it.
    pub client_id: ClientId,
    /// Who gave it, as the client knows them.
    pub subject: Subject,
    /// The row of who gave it.
    pub account_id: RowId,
}

/// What a genuine refresh token of a family is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the one that is good now.
    Current,
    /// It is the one before, replaced a moment ago: a lost answer or a racing tab.
    Predecessor,
    /// It was replaced and should be forgotten: somebody else has a copy.
    Stolen,
    /// It is of a generation that the row has not reached: the database was restored from a backup.
    Unissued,
}

/// Why a grant ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its code was presented again.
    CodeReplayed,
    /// A refresh token was presented again after its successor.
    RefreshReused,
    /// The client gave it back ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
    Revoked,
}

impl EndReason {
    /// The value of the column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReplayed => "code_replayed",
            Self::RefreshReused => "refresh_reused",
            Self::Revoked => "revoked",
        }
    }
}

impl Grant {
    /// Whether tokens of this grant still count.
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        self.ended_at.is_none() && self.parents_live && !now.has_reached(self.new.expires_at)
    }

    /// What the genuine refresh token of `generation` is worth, when its predecessor may be presented for `window` seconds more.
    /// A clock that went back counts as no time at all.
    pub fn presented(&self, generation: u32, window: i64, now: UnixSeconds) -> Presented {
        let age = now.since(self.rotated_at).max(0);
        match self.generation.checked_sub(generation) {
            None => Presented::Unissued,
            Some(0) => Presented::Current,
            Some(1) if age < window => Presented::Predecessor,
            Some(_) => Presented::Stolen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds::new(1_000);

    fn grant() -> Grant {
        Grant {
            id: RowId::new(1),
            new: NewGrant {
                code_hash: SecretHash::of(b""),
                code_expires_at: NOW,
                redirect_uri: String::new(),
                redirect_uri_sent: false,
                code_challenge: None,
                nonce: None,
                parties: Parties {
                    client_id: ClientId::parse("web").unwrap(),
                    client_epoch: 0,
                    account_id: RowId::new(1),
                    account_epoch: 0,
                    session_id: RowId::new(1),
                    session_epoch: 0,
                    consent_epoch: 0,
                    subject: Subject::parse("acct_1").unwrap(),
                    sid: String::new(),
                    auth_time: NOW,
                    acr: String::new(),
                    amr: Vec::new(),
                },
                scope: Scope::default(),
                resources: Vec::new(),
                refreshable: true,
                offline: false,
                salt: [0; 16],
                expires_at: NOW.plus(100),
            },
            spent_at: Some(NOW),
            generation: 5,
            rotated_at: NOW,
            retries: 0,
            ended_at: None,
            parents_live: true,
        }
    }

    #[test]
    fn a_grant_lives_until_it_ends_or_expires_or_loses_a_parent() {
        assert!(grant().is_live(NOW.plus(99)));
        assert!(!grant().is_live(NOW.plus(100)));
        assert!(!Grant { ended_at: Some(NOW), ..grant() }.is_live(NOW));
        assert!(!Grant { parents_live: false, ..grant() }.is_live(NOW));
    }

    #[test]
    fn the_token_before_the_current_one_counts_within_the_window_only() {
        let at = |generation, seconds| grant().presented(generation, 30, NOW.plus(seconds));
        assert_eq!(at(5, 1_000_000), Presented::Current);
        assert_eq!(at(4, 0), Presented::Predecessor);
        assert_eq!(at(4, 29), Presented::Predecessor);
        assert_eq!(at(4, 30), Presented::Stolen);
        assert_eq!(at(4, -100), Presented::Predecessor, "a clock that went back is no theft");
        assert_eq!(at(3, 0), Presented::Stolen);
        assert_eq!(at(6, 0), Presented::Unissued);
        assert_eq!(grant().presented(4, 0, NOW), Presented::Stolen, "no window");
    }
}
