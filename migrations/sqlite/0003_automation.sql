-- Automation: standing auto-replies, scripts with their versions, their log, and what scripts took out of inboxes.
CREATE TABLE auto_replies (
    user_id              INTEGER NOT NULL PRIMARY KEY,
    enabled              INTEGER NOT NULL,
    text                 TEXT    NOT NULL,
    repeat_after_seconds INTEGER NOT NULL,             -- 0: every message is answered
    changed_at           INTEGER NOT NULL
) WITHOUT ROWID;

-- Whom an auto-reply has answered: once per sender and text within the window. Written with the message answered.
CREATE TABLE auto_replies_sent (
    user_id   INTEGER NOT NULL,                        -- whose auto-reply
    to_id     INTEGER NOT NULL,
    text_hash BLOB    NOT NULL,                        -- SHA-256 of the text
    cause_uid BLOB    NOT NULL,                        -- the message answered: done again, it is answered again
    at        INTEGER NOT NULL,                        -- when that was sent
    PRIMARY KEY (user_id, to_id, text_hash)
) WITHOUT ROWID;
CREATE INDEX auto_replies_sent_by_time ON auto_replies_sent (at);

CREATE TABLE script_versions (
    user_id     INTEGER NOT NULL,
    direction   TEXT    NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    version     INTEGER NOT NULL,                      -- 1, 2, 3 … for each user and direction, never given twice
    language    TEXT    NOT NULL,
    sha256      BLOB    NOT NULL,                      -- of the source, which lies in the object store under it
    bytes       INTEGER NOT NULL,
    uploaded_by INTEGER NOT NULL,
    uploaded_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, direction, version)
) WITHOUT ROWID;

-- One row for each user and direction that ever had a script.
CREATE TABLE scripts (
    user_id        INTEGER NOT NULL,
    direction      TEXT    NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    last_version   INTEGER NOT NULL,                   -- the last version given
    chosen_version INTEGER,                            -- the last one activated, active or not; null: none ever was
    active         INTEGER NOT NULL,                   -- whether the chosen one runs
    switched_off   TEXT,                               -- why the server switched it off; null: it did not
    changed_at     INTEGER NOT NULL,
    PRIMARY KEY (user_id, direction)
) WITHOUT ROWID;
CREATE INDEX scripts_switched_off ON scripts (changed_at) WHERE switched_off IS NOT NULL;

-- What automation did and why, for its owner. Bounded for each user and source.
CREATE TABLE automation_log (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     INTEGER NOT NULL,
    source      TEXT    NOT NULL CHECK (source IN ('incoming', 'outgoing', 'auto-reply')),
    at          INTEGER NOT NULL,
    version     INTEGER,                               -- of the script; null for the auto-reply
    message_uid BLOB,                                  -- null: it is not about one message
    verdict     TEXT    NOT NULL,
    entry       TEXT    NOT NULL                       -- JSON: reason, line, prints, replies, what they cost
);
CREATE INDEX automation_log_by_user ON automation_log (user_id, source, id);

-- Messages that a script kept out of its owner's inbox: they can be restored.
CREATE TABLE filtered (
    user_id    INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (user_id, message_id)
) WITHOUT ROWID;
