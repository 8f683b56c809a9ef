-- Processes beside each other, and versions of the program beside each other.
-- Another kind of event, 'automation', and more to come: which there are is the program's to know. Numbers that were given
-- are not given again.
CREATE TABLE account_events_new (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id   INTEGER NOT NULL,
    family_id BLOB,                                    -- for 'logout'
    kind      TEXT    NOT NULL,
    at        INTEGER NOT NULL
);
INSERT INTO sqlite_sequence (name, seq) SELECT 'account_events_new', seq FROM sqlite_sequence WHERE name = 'account_events';
INSERT INTO account_events_new (id, user_id, family_id, kind, at) SELECT id, user_id, family_id, kind, at FROM account_events;
DROP TABLE account_events;
ALTER TABLE account_events_new RENAME TO account_events;
CREATE INDEX account_events_by_time ON account_events (at);

-- Which programs can work with these tables: those that know migration `oldest`, or a later one. A migration that takes
-- something away which they use raises it.
CREATE TABLE compatibility (
    oldest INTEGER NOT NULL
);
INSERT INTO compatibility (oldest) VALUES (4);
