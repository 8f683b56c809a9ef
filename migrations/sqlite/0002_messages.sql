-- Conversations, messages and inboxes.
-- A conversation is its set of participants; its id is derived from them.
CREATE TABLE conversations (
    id           BLOB    NOT NULL PRIMARY KEY,         -- UUID, 16 bytes
    participants TEXT    NOT NULL,                     -- JSON array of user ids, ascending
    created_at   INTEGER NOT NULL
);

CREATE TABLE conversation_members (
    user_id         INTEGER NOT NULL,
    conversation_id BLOB    NOT NULL,
    read_seq        INTEGER NOT NULL DEFAULT 0,        -- in the member's own inbox
    PRIMARY KEY (user_id, conversation_id)
) WITHOUT ROWID;
CREATE INDEX conversation_members_by_conversation ON conversation_members (conversation_id, user_id);

CREATE TABLE messages (
    id              INTEGER PRIMARY KEY,               -- order of commit
    message_uid     BLOB    NOT NULL UNIQUE,           -- what makes a second delivery nothing
    conversation_id BLOB    NOT NULL,
    sender_id       INTEGER NOT NULL,
    message_body    TEXT    NOT NULL,
    from_auto_reply INTEGER NOT NULL,
    sent_at         INTEGER NOT NULL
);

-- The last place given in each inbox; the row is the lock under which places are given.
CREATE TABLE inbox_heads (
    user_id  INTEGER NOT NULL PRIMARY KEY,
    head_seq INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE inbox (
    user_id         INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    message_id      INTEGER NOT NULL,
    conversation_id BLOB    NOT NULL,
    PRIMARY KEY (user_id, seq)
) WITHOUT ROWID;
CREATE INDEX inbox_by_conversation ON inbox (user_id, conversation_id, seq);
