-- Everything a fresh authorization server needs. Times are Unix seconds, flags 0 or 1, lists and maps JSON text.

-- Keys of our own, sealed under the master key (AES-256-GCM, the name as AAD). `check` proves the master key.
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    sealed BYTES NOT NULL
);
INSERT INTO guard (name, version) VALUES ('secrets', 0);

-- One row that every instance polls: a number grows when the thing it counts has changed.
CREATE TABLE epochs (
    id INT PRIMARY KEY CHECK (id = 1),
    keys INT NOT NULL,
    registry INT NOT NULL
);
INSERT INTO epochs (id, keys, registry) VALUES (1, 0, 0);

-- Signature keys: announced, signing, retired, gone (the row stays for hints until nothing can carry one).
CREATE TABLE signing_key (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('announced', 'signing', 'retired', 'withdrawn', 'revoked')),
    public_jwk TEXT NOT NULL,
    sealed_private BYTES,
    announced_at INT NOT NULL,
    signing_at INT,
    retired_at INT,
    withdrawn_at INT
);
CREATE UNIQUE INDEX signing_key_announced ON signing_key (alg) WHERE state = 'announced';
CREATE UNIQUE INDEX signing_key_signing ON signing_key (alg) WHERE state = 'signing';
INSERT INTO guard (name, version) VALUES ('keys', 0);

-- Resource servers that tokens can be for (RFC 8707).
CREATE TABLE api (
    identifier TEXT PRIMARY KEY,
    document TEXT NOT NULL
);

-- Clients; the document holds the metadata by the names of RFC 7591, the columns what statements decide on.
CREATE TABLE client (
    client_id TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    secret_hash BYTES,
    old_secret_hash BYTES,
    old_secret_until INT,
    enabled INT NOT NULL,
    epoch INT NOT NULL,
    tokens_not_before INT NOT NULL,
    created_at INT NOT NULL
);

-- Resource owners. A deleted account keeps its row without name, password and claims: a subject is never used again.
CREATE TABLE account (
    id ID PRIMARY KEY,
    subject TEXT NOT NULL UNIQUE,
    username TEXT,
    username_key TEXT UNIQUE,
    password_hash TEXT,
    claims TEXT NOT NULL,
    enabled INT NOT NULL,
    epoch INT NOT NULL,
    created_at INT NOT NULL
);

-- Browser sessions: the cookie is selector and verifier, only the verifier's hash is here.
CREATE TABLE session (
    id ID PRIMARY KEY,
    secret_hash BYTES NOT NULL,
    sid TEXT NOT NULL,
    account_id ID NOT NULL REFERENCES account (id),
    account_epoch INT NOT NULL,
    epoch INT NOT NULL,
    auth_time INT NOT NULL,
    acr TEXT NOT NULL,
    amr TEXT NOT NULL,
    seen_at INT NOT NULL,
    expires_at INT NOT NULL,
    ended_at INT
);
CREATE INDEX session_account ON session (account_id);

-- What a person allowed a client. Withdrawing deletes the scopes and moves the epoch, which ends the client's grants.
CREATE TABLE consent (
    account_id ID NOT NULL REFERENCES account (id),
    client_id TEXT NOT NULL,
    epoch INT NOT NULL,
    PRIMARY KEY (account_id, client_id)
);
CREATE INDEX consent_client ON consent (client_id);
CREATE TABLE consent_scope (
    account_id ID NOT NULL REFERENCES account (id),
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    granted_at INT NOT NULL,
    PRIMARY KEY (account_id, client_id, scope)
);
CREATE INDEX consent_scope_client ON consent_scope (client_id);

-- One row from the authorization code to the last refresh token: the code, then the grant and the refresh family.
-- Its liveness is derived: every parent's epoch must still be the one seen when the code was issued.
CREATE TABLE authorization_grant (
    id ID PRIMARY KEY,
    code_hash BYTES NOT NULL,
    code_expires_at INT NOT NULL,
    redirect_uri TEXT NOT NULL,
    redirect_uri_sent INT NOT NULL,
    code_challenge TEXT,
    nonce TEXT,
    spent_at INT,
    client_id TEXT NOT NULL,
    client_epoch INT NOT NULL,
    account_id ID NOT NULL,
    account_epoch INT NOT NULL,
    session_id ID NOT NULL,
    session_epoch INT NOT NULL,
    consent_epoch INT NOT NULL,
    subject TEXT NOT NULL,
    sid TEXT NOT NULL,
    scope TEXT NOT NULL,
    resources TEXT NOT NULL,
    auth_time INT NOT NULL,
    acr TEXT NOT NULL,
    amr TEXT NOT NULL,
    offline INT NOT NULL,
    salt BYTES NOT NULL,
    refreshable INT NOT NULL,
    generation INT NOT NULL,
    rotated_at INT NOT NULL,
    retries INT NOT NULL,
    expires_at INT NOT NULL,
    ended_at INT,
    end_reason TEXT
);
-- The codes that nobody has redeemed yet, so that a session has only so many. A redemption leaves it, and no rotation touches it.
CREATE INDEX authorization_grant_waiting ON authorization_grant (session_id) WHERE spent_at IS NULL;

-- Access tokens given back before their time (RFC 7009).
CREATE TABLE denied_token (
    jti TEXT PRIMARY KEY,
    expires_at INT NOT NULL
);

-- Counters of failed attempts: a fixed window each.
CREATE TABLE throttle (
    bucket TEXT PRIMARY KEY,
    failures INT NOT NULL,
    window_ends_at INT NOT NULL
);

-- Where each purge walk has come to: the primary key of the last row it looked at, as text; empty at the start.
CREATE TABLE purge_cursor (
    name TEXT PRIMARY KEY,
    after_key TEXT NOT NULL
);
