//! The grant behind an authorization code, stored in one unit of work
//! ([RFC 6749 section 4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2)).

use actix_web::HttpResponse;
use shared_types::UnixSeconds;

use super::progress::{CONSENT, LOGIN, Visit, Visitor};
use super::reply;
use super::sealed_request::Pending;
use crate::domain::authorization_request::{AuthorizationRequest, RedirectFault, ShowFault};
use crate::domain::client::GrantType;
use crate::domain::consent::must_ask;
use crate::domain::grant::{NewGrant, Parties};
use crate::domain::row_id::{CANDIDATES, RowId};
use crate::domain::secret::SecretHash;
use crate::error::PageFault;
use crate::log_format::security_event;
use crate::store::{StoreError, clients, consents, grants, sessions};
use crate::tokens::opaque::{self, Opaque, OpaqueKind};

/// Where the consent for a code comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The person said yes just now.
    Given,
    /// It was stored before, or nobody has to be asked.
    Stored,
}

impl Visit<'_> {
    /// Stores the grant and hands out its code, all in one unit of work that reads every parent again: what changed since the page
    /// was shown is seen here. Two of the same request at once give two codes, each good once, for the same client and challenge.
    pub async fn issue(
        &self,
        pending: &Pending,
        request: &AuthorizationRequest,
        visitor: &Visitor,
        consent: Consent,
    ) -> Result<HttpResponse, PageFault> {
        let secret = self.app.random_bytes::<32>();
        let draft = self.draft(request, visitor, consent, &secret);
        match self.app.database.write(move |sql| draft.store(sql)).await? {
            Stored::Code(id) => {
                security_event(
                    "code_issued",
                    &[("client_id", request.client.id()), ("sub", &visitor.account.subject)],
                );
                self.app.metrics.count_event("code_issued");
                let code = opaque::encode(
                    &self.app.vault,
                    OpaqueKind::Code,
                    &Opaque { id, generation: 0, secret },
                );
                reply::code(self.app, request.client.name(), &request.reply_to, &code)
            }
            Stored::ClientGone => Err(ShowFault::ClientUnknown.into()),
            Stored::SignedOut if request.prompt.none => {
                self.refuse(request, RedirectFault::LoginRequired)
            }
            Stored::SignedOut => self.to_page(LOGIN, pending),
            Stored::ConsentMissing if request.prompt.none => {
                self.refuse(request, RedirectFault::ConsentRequired)
            }
            Stored::ConsentMissing => self.to_page(CONSENT, pending),
        }
    }

    fn draft(
        &self,
        request: &AuthorizationRequest,
        visitor: &Visitor,
        consent: Consent,
        secret: &[u8; 32],
    ) -> Draft {
        let lifetimes = &self.app.settings.lifetimes;
        let refreshable = request.client.may_use(GrantType::RefreshToken);
        let code_expires_at = self.now.plus(lifetimes.code);
        // A family lives until its absolute end; without refresh tokens the row has to outlive the last access token and no more.
        let longest = self
            .registry
            .apis()
            .map(|api| api.access_token_lifetime)
            .fold(lifetimes.access_token, i64::max);
        let expires_at = if refreshable {
            self.now.plus(lifetimes.refresh_absolute)
        } else {
            code_expires_at.plus(longest)
        };
        Draft {
            ids: self.app.fresh_ids(),
            request: request.clone(),
            visitor: visitor.clone(),
            consent,
            code_hash: SecretHash::of(secret),
            code_expires_at,
            salt: self.app.random_bytes(),
            refreshable,
            expires_at,
            session_idle: lifetimes.session_idle,
            now: self.now,
        }
    }
}

/// Everything that the unit of work behind a code needs; made before it, so that it can run twice.
struct Draft {
    ids: [RowId; CANDIDATES],
    request: AuthorizationRequest,
    visitor: Visitor,
    consent: Consent,
    code_hash: SecretHash,
    code_expires_at: UnixSeconds,
    salt: [u8; 16],
    refreshable: bool,
    expires_at: UnixSeconds,
    session_idle: i64,
    now: UnixSeconds,
}

/// What became of it.
enum Stored {
    Code(RowId),
    SignedOut,
    ClientGone,
    ConsentMissing,
}

impl Draft {
    fn store(&self, sql: &mut dyn database::Sql) -> Result<Stored, StoreError> {
        let (request, visitor, now) = (&self.request, &self.visitor, self.now);
        let live =
            sessions::find_live(sql, visitor.session.id, &visitor.secret, now, self.session_idle)?;
        let Some((session, account)) = live else {
            return Ok(Stored::SignedOut);
        };
        let Some(client) = clients::find(sql, request.client.id())?.filter(|client| client.enabled)
        else {
            return Ok(Stored::ClientGone);
        };
        let consent_epoch = match self.consent {
            Consent::Given => {
                consents::remember(sql, account.id, client.id(), &request.scope, now)?
            }
            Consent::Stored => {
                let stored = consents::granted(sql, account.id, client.id())?;
                if must_ask(&client, &request.reply_to.redirect_uri, &request.scope, &stored, false)
                {
                    return Ok(Stored::ConsentMissing);
                }
                stored.epoch
            }
        };
        let parties = Parties {
            client_id: client.id().clone(),
            client_epoch: client.epoch,
            account_id: account.id,
            account_epoch: account.epoch,
            session_id: session.id,
            session_epoch: session.epoch,
            consent_epoch,
            subject: account.subject,
            sid: session.sid,
            auth_time: session.auth_time,
            acr: session.acr,
            amr: session.amr,
        };
        match grants::insert(sql, &self.ids, &self.grant(parties))? {
            Some(id) => {
                grants::forget_oldest_waiting(sql, session.id)?;
                Ok(Stored::Code(id))
            }
            None => Err(StoreError::Conflict("no free id for a grant")),
        }
    }

    fn grant(&self, parties: Parties) -> NewGrant {
        let request = &self.request;
        NewGrant {
            code_hash: self.code_hash.clone(),
            code_expires_at: self.code_expires_at,
            redirect_uri: request.reply_to.redirect_uri.clone(),
            redirect_uri_sent: request.redirect_uri_sent,
            code_challenge: request.code_challenge.clone(),
            nonce: request.nonce.clone(),
            parties,
            offline: request.scope.contains("offline_access"),
            scope: request.scope.clone(),
            resources: request.resources.clone(),
            refreshable: self.refreshable,
            salt: self.salt,
            expires_at: self.expires_at,
        }
    }
}
