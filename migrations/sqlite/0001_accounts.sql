-- Accounts, logins and what changed about them.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    username      TEXT    NOT NULL UNIQUE,             -- as typed; compared by `username_key`
    username_key  TEXT    NOT NULL UNIQUE,             -- lower case, for look-up and search
    password_hash TEXT    NOT NULL,                    -- argon2id, PHC string
    role          TEXT    NOT NULL CHECK (role IN ('user', 'admin')),
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL                     -- milliseconds since 1970, UTC, here and everywhere
);

-- One login; all refresh tokens that descend from it end with it.
CREATE TABLE token_families (
    id         BLOB    NOT NULL PRIMARY KEY,           -- UUID, 16 bytes
    user_id    INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER                                 -- null: alive
);
CREATE INDEX token_families_by_user ON token_families (user_id);
CREATE INDEX token_families_by_expiry ON token_families (expires_at);

CREATE TABLE refresh_tokens (
    token_hash BLOB    NOT NULL PRIMARY KEY,           -- SHA-256 of the token; the token itself is kept nowhere
    family_id  BLOB    NOT NULL REFERENCES token_families (id) ON DELETE CASCADE,
    used_at    INTEGER                                 -- null: not yet exchanged
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);

-- What a running node must hear of although another process did it: read by id, upwards.
CREATE TABLE account_events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id   INTEGER NOT NULL,
    family_id BLOB,                                    -- for 'logout'
    kind      TEXT    NOT NULL CHECK (kind IN ('disabled', 'logout', 'role')),
    at        INTEGER NOT NULL
);
CREATE INDEX account_events_by_time ON account_events (at);
