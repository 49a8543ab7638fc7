-- The tables of a bus file, version 1.

CREATE TABLE topics (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- `next_offset` only ever grows, also when messages are deleted by hand: an offset is never used twice.
CREATE TABLE partitions (
    id          INTEGER PRIMARY KEY,
    topic       INTEGER NOT NULL REFERENCES topics (id),
    number      INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
) STRICT;

-- `place` is the partition's id shifted left by 40 bits, plus the offset: a partition lies together and in
-- order, and one integer is the only index. `headers` is the block of `message::Headers`, null for none.
CREATE TABLE messages (
    place        INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    key          BLOB,
    headers      BLOB,
    payload      BLOB
) STRICT;

-- Who reads a topic for a group, in order of joining. After `lease_until_ms` a member counts as dead.
CREATE TABLE members (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    topic          INTEGER NOT NULL REFERENCES topics (id),
    group_name     TEXT NOT NULL,
    lease_until_ms INTEGER NOT NULL,
    session_ms     INTEGER NOT NULL
) STRICT;

-- How far a group is, who may move it on (`owner`, in its `generation`), and who shall have it (`wanted`).
CREATE TABLE positions (
    partition  INTEGER NOT NULL REFERENCES partitions (id),
    group_name TEXT NOT NULL,
    position   INTEGER NOT NULL DEFAULT 0,
    owner      TEXT,
    wanted     TEXT,
    generation INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (partition, group_name)
) STRICT, WITHOUT ROWID;
