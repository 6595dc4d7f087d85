-- Run once by the PostgreSQL image, on an empty volume: a database for each of the two servers, and a role that owns it.
-- In byte order, as SQLite compares: no index depends on a version of the C library then.
\set auth_server_password `cat /secrets/auth-server/database-password`
CREATE ROLE auth_server LOGIN PASSWORD :'auth_server_password';
CREATE DATABASE auth_server OWNER auth_server TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE auth_server FROM PUBLIC;

\set resource_server_password `cat /secrets/resource-server/database-password`
CREATE ROLE resource_server LOGIN PASSWORD :'resource_server_password';
CREATE DATABASE resource_server OWNER resource_server TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE resource_server FROM PUBLIC;
