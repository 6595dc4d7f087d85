//! A browser session: who signed in, when and how well, and how long that lasts.

use shared_types::UnixSeconds;

use super::row_id::RowId;
use super::secret::SecretHash;

/// A session's last use is written down at most this often, in seconds: it costs a durable write.
pub const TOUCH_INTERVAL: i64 = 60;

/// A live session, as the store found it.
#[derive(Clone, Debug)]
pub struct Session {
    /// The row; with the secret it makes the cookie.
    pub id: RowId,
    /// Its public name in ID tokens and logout messages, never a means to enter.
    pub sid: String,
    /// The person.
    pub account_id: RowId,
    /// The account's epoch when the person signed in.
    pub account_epoch: i64,
    /// Its own epoch; a grant without `offline_access` lives only while it stays.
    pub epoch: i64,
    /// When the person last proved who they are.
    pub auth_time: UnixSeconds,
    /// How well ([OpenID Connect Core 2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken), `acr`).
    pub acr: String,
    /// By which methods ([RFC 8176](https://www.rfc-editor.org/rfc/rfc8176)).
    pub amr: Vec<String>,
    /// Its last use, to the minute.
    pub seen_at: UnixSeconds,
    /// Its absolute end.
    pub expires_at: UnixSeconds,
    /// When it was ended before that.
    pub ended_at: Option<UnixSeconds>,
}

impl Session {
    /// Whether it still counts: not ended, not past its absolute end, used within the last `idle` seconds.
    pub fn is_live(&self, now: UnixSeconds, idle: i64) -> bool {
        self.ended_at.is_none()
            && !now.has_reached(self.expires_at)
            && !now.has_reached(self.seen_at.plus(idle))
    }

    /// Whether its use is worth writing down.
    pub fn needs_touch(&self, now: UnixSeconds) -> bool {
        now.has_reached(self.seen_at.plus(TOUCH_INTERVAL))
    }
}

/// A session that begins with a sign-in.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Of the cookie's secret, which is fresh at every sign-in: what a browser held before means nothing afterwards.
    pub secret_hash: SecretHash,
    /// Its public name: random, see [`generate_sid`].
    pub sid: String,
    /// The person.
    pub account_id: RowId,
    /// The epoch of the account whose password was checked.
    pub account_epoch: i64,
    /// Now.
    pub auth_time: UnixSeconds,
    /// How well.
    pub acr: String,
    /// By which methods.
    pub amr: Vec<String>,
    /// Its absolute end.
    pub expires_at: UnixSeconds,
}

/// A fresh public name of a session, 128 random bits.
pub fn generate_sid(random: &dyn crate::random::SecureRandom) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(crate::random::bytes::<16>(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            id: RowId::new(1),
            sid: "s".into(),
            account_id: RowId::new(1),
            account_epoch: 0,
            epoch: 0,
            auth_time: UnixSeconds::new(1_000),
            acr: "1".into(),
            amr: vec!["pwd".into()],
            seen_at: UnixSeconds::new(1_000),
            expires_at: UnixSeconds::new(5_000),
            ended_at: None,
        }
    }

    #[test]
    fn a_session_ends_with_its_idle_time() {
        let live_at = |now| session().is_live(UnixSeconds::new(now), 600);
        assert!(live_at(1_599));
        assert!(!live_at(1_600));
        assert!(!live_at(1_601));
    }

    #[test]
    fn a_session_ends_absolutely_however_often_it_is_used() {
        let live_at = |now| {
            Session { seen_at: UnixSeconds::new(4_999), ..session() }
                .is_live(UnixSeconds::new(now), 600)
        };
        assert!(live_at(4_999));
        assert!(!live_at(5_000));
        assert!(!live_at(5_001));
    }

    #[test]
    fn an_ended_session_is_dead_at_once() {
        let ended = Session { ended_at: Some(UnixSeconds::new(1_001)), ..session() };
        assert!(!ended.is_live(UnixSeconds::new(1_001), 600));
    }

    #[test]
    fn a_use_is_written_down_once_a_minute() {
        let at = |now| session().needs_touch(UnixSeconds::new(now));
        assert!(!at(1_059));
        assert!(at(1_060));
        assert!(at(1_061));
    }
}
