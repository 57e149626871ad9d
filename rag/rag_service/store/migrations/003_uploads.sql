-- Files that were acknowledged and are still to be added, in order. `tries`: how often that was begun.
CREATE TABLE uploads (
    number bigint GENERATED ALWAYS AS IDENTITY, job text NOT NULL REFERENCES jobs ON DELETE CASCADE,
    place integer NOT NULL, collection text NOT NULL, metadata text, name text NOT NULL, data bytea NOT NULL,
    tries integer NOT NULL DEFAULT 0, PRIMARY KEY (job, place)
);
