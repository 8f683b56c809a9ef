-- Nodes beside each other, and versions of the program beside each other.
-- Another kind of event, 'automation', and more to come: which there are is the program's to know.
ALTER TABLE account_events DROP CONSTRAINT account_events_kind;

-- Which programs can work with these tables: those that know migration `oldest`, or a later one. A migration that takes
-- something away which they use raises it.
CREATE TABLE compatibility (
    oldest BIGINT NOT NULL
);
INSERT INTO compatibility (oldest) VALUES (4);
