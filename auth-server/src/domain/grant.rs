//! What a person allowed a client: one row from the authorization code to the last refresh token of its family.

use shared_types::{ClientId, Scope, Subject, UnixSeconds};

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
    pub code_challenge: Option<String>,
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

impl Grant {
    /// Whether tokens of this grant still count.
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        self.ended_at.is_none() && self.parents_live && !now.has_reached(self.new.expires_at)
    }
}
