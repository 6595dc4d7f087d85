-- Documents, each of one owner: the issuer and subject of the token that created it.
CREATE TABLE document (
    id TEXT NOT NULL PRIMARY KEY,
    owner_iss TEXT NOT NULL,
    owner_sub TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INT NOT NULL,
    updated_at INT NOT NULL
);
-- The order of the list; the key never changes, so an edit does not move a document to another page.
CREATE INDEX document_of_owner ON document (owner_iss, owner_sub, created_at, id);
