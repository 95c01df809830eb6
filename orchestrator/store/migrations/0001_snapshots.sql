-- One row for each configured source and collection, also when everything failed. NULL is "not known", never 0.
-- The first ten columns are those of the earlier Node implementation; what follows them may be left out by foreign writers.
CREATE TABLE revenue_snapshots (
    id               INTEGER PRIMARY KEY,
    source           TEXT NOT NULL,     -- 'xmr-mining' | 'mlx-api' | a later collector's name
    collected_at     TEXT,              -- UTC, YYYY-MM-DDTHH:MM:SS.mmmZ; NULL: the time that came with the row could not be read
    balance_atomic   INTEGER,           -- piconero owed by the pool
    paid_atomic      INTEGER,           -- piconero paid out so far
    hashrate         REAL,              -- H/s
    xmr_price_usd    REAL,
    requests_served  INTEGER,           -- since the server started
    tokens_generated INTEGER,           -- since the server started
    raw_json         TEXT,              -- the answer, redacted, at most 16 KiB
    error            TEXT,              -- why values are NULL; NULL when all is known
    uptime_seconds   REAL,
    healthy          INTEGER,           -- 0 | 1
    last_hash_at     TEXT,
    -- The one definition of a good sample, so that `WHERE source = :source AND good` finds the newest in O(log n).
    good             INTEGER NOT NULL GENERATED ALWAYS AS (
        CASE source
            WHEN 'xmr-mining' THEN balance_atomic IS NOT NULL AND paid_atomic IS NOT NULL
            WHEN 'mlx-api' THEN requests_served IS NOT NULL
            ELSE error IS NULL
        END
    ) VIRTUAL
) STRICT;

CREATE INDEX revenue_snapshots_by_time ON revenue_snapshots (source, collected_at);

CREATE INDEX revenue_snapshots_good ON revenue_snapshots (source, collected_at) WHERE good;

-- Foreign writers' times become ours: SQL form, ISO 8601 with an offset or fewer digits, epoch seconds and milliseconds.
-- The GLOBs let no word through to strftime, which would take 'now' for the present; what is no time becomes NULL and is
-- kept in `error`.
CREATE TRIGGER revenue_snapshots_time AFTER INSERT ON revenue_snapshots
WHEN NEW.collected_at NOT GLOB '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9]Z'
BEGIN
    UPDATE revenue_snapshots
    SET collected_at = CASE
            WHEN NEW.collected_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*'
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.collected_at)
            WHEN NEW.collected_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.collected_at, 'unixepoch')
            WHEN NEW.collected_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.collected_at / 1000.0, 'unixepoch')
        END
    WHERE id = NEW.id;

    UPDATE revenue_snapshots
    SET error = coalesce(error || '; ', '') || 'collected_at was ' || quote(substr(NEW.collected_at, 1, 200))
    WHERE id = NEW.id AND collected_at IS NULL;
END;

-- One row for each closed local day and source, kept for ever.
CREATE TABLE daily_growth (
    day              TEXT NOT NULL,     -- local, YYYY-MM-DD
    source           TEXT NOT NULL,
    earned_atomic    INTEGER,           -- piconero
    earned_nano      INTEGER,           -- nano-USD; NULL only if earned_atomic is
    unpriced_atomic  INTEGER,           -- the part of earned_atomic that no price was known for
    requests         INTEGER,
    tokens           INTEGER,
    covered_seconds  INTEGER NOT NULL,
    flag             TEXT NOT NULL CHECK (flag IN ('exact', 'estimated', 'unknown')),
    PRIMARY KEY (source, day)
) STRICT, WITHOUT ROWID;

CREATE INDEX daily_growth_by_day ON daily_growth (day);

CREATE TABLE meta (
    key              TEXT NOT NULL PRIMARY KEY,
    value            TEXT NOT NULL
) STRICT, WITHOUT ROWID;
