-- A store as the first release wrote it: three documents in two collections. Its full text is left out: it is made again.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, collection TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
    text TEXT NOT NULL, pages TEXT NOT NULL, added_at TEXT NOT NULL, headings TEXT NOT NULL DEFAULT '[]', origin TEXT, UNIQUE (collection, id), UNIQUE (collection, name)
);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
    "start" INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER
, heading TEXT);
CREATE INDEX chunks_of_document ON chunks (document);
CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, vector BLOB NOT NULL
);
CREATE TABLE tokens (chunk INTEGER PRIMARY KEY REFERENCES chunks ON DELETE CASCADE, signs BLOB NOT NULL);
CREATE VIRTUAL TABLE full_text USING fts5 (text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TRIGGER chunk_gone AFTER DELETE ON chunks BEGIN DELETE FROM full_text WHERE rowid = old.id; END;
INSERT INTO facts VALUES ('schema', '1');
INSERT INTO facts VALUES ('generation', '6000672807102782');
INSERT INTO facts VALUES ('store', '32cf909f909fbae749d5c3ebcdf4dc2d');
INSERT INTO facts VALUES ('found int8:sha256:old', '[null, "r1"]');
INSERT INTO facts VALUES ('embedder', 'int8:sha256:old');
INSERT INTO documents VALUES (1, 'default', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'cellar.md', 60, 'Cellars

The cellar was dug in 1871 by a miner.', '[]', '2026-11-01T00:00:00+00:00', '[[1, 0, "Cellars"]]', NULL);
INSERT INTO documents VALUES (2, 'default', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'slopes.txt', 31, 'The vineyard has a north slope.', '[]', '2026-11-01T00:00:00+00:00', '[]', '/documents');
INSERT INTO documents VALUES (3, 'other', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'slopes.txt', 31, 'The vineyard has a north slope.', '[]', '2026-11-01T00:00:00+00:00', '[]', NULL);
INSERT INTO chunks VALUES (1, 1, 0, 47, NULL, 'Cellars');
INSERT INTO chunks VALUES (2, 2, 0, 31, NULL, NULL);
INSERT INTO chunks VALUES (3, 3, 0, 31, NULL, NULL);
INSERT INTO vectors VALUES (1, X'0000803f000000000000000000000000');
INSERT INTO vectors VALUES (2, X'000000000000803f0000000000000000');
INSERT INTO vectors VALUES (3, X'000000000000803f0000000000000000');
INSERT INTO tokens VALUES (1, X'0102');
