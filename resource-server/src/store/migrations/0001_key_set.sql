-- The last good key set of each issuer, for a restart while the issuer is away.
CREATE TABLE key_set (
    issuer TEXT NOT NULL PRIMARY KEY,
    jwks TEXT NOT NULL,
    fetched_at INT NOT NULL
);
