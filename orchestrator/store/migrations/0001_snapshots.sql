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
-- Adopted rows come this way too. No word gets past the GLOBs, since 'now' would be the present. A time must survive
-- julianday and back: strftime alone prints the 31st of February as it was given in some versions of SQLite, and as the 3rd
-- of March in others. What is no time becomes NULL and is kept in `error`.
CREATE TRIGGER revenue_snapshots_time AFTER INSERT ON revenue_snapshots
WHEN NEW.collected_at NOT GLOB '[12]*'
    OR NEW.collected_at IS NOT strftime('%Y-%m-%dT%H:%M:%fZ', julianday(NEW.collected_at))
BEGIN
    UPDATE revenue_snapshots
    SET collected_at = (
        SELECT CASE
            WHEN said GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*' AND said NOT GLOB '*[T ]24:*'
                AND date(julianday(substr(said, 1, 10))) = substr(said, 1, 10)
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', julianday(CASE
                    WHEN said GLOB '*:*[-+][0-9][0-9][0-9][0-9]' THEN substr(said, 1, length(said) - 2) || ':' || substr(said, -2)
                    WHEN said GLOB '*:*[-+][0-9][0-9]' THEN said || ':00'
                    ELSE said
                END))
            WHEN said GLOB '*[^0-9.]*' OR said GLOB '*.*.*' THEN NULL
            WHEN said || '.' GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].*'
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', CAST(said AS REAL), 'unixepoch')
            WHEN said || '.' GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].*'
                THEN strftime('%Y-%m-%dT%H:%M:%fZ', CAST(said AS REAL) / 1000, 'unixepoch')
        END
        FROM (SELECT replace(upper(trim(NEW.collected_at, char(9, 10, 13, 32))), ',', '.') AS said)
    )
    WHERE id = NEW.id;

    UPDATE revenue_snapshots
    SET error = coalesce(error || '; ', '') || 'collected_at was ' || quote(substr(NEW.collected_at, 1, 200))
    WHERE id = NEW.id AND collected_at IS NULL;
END;

-- Infinity is no measurement, nor is a number whose sum with another might be.
CREATE TRIGGER revenue_snapshots_numbers AFTER INSERT ON revenue_snapshots
WHEN abs(NEW.hashrate) > 1e300 OR abs(NEW.xmr_price_usd) > 1e300 OR abs(NEW.uptime_seconds) > 1e300
BEGIN
    UPDATE revenue_snapshots
    SET hashrate = CASE WHEN abs(hashrate) <= 1e300 THEN hashrate END,
        xmr_price_usd = CASE WHEN abs(xmr_price_usd) <= 1e300 THEN xmr_price_usd END,
        uptime_seconds = CASE WHEN abs(uptime_seconds) <= 1e300 THEN uptime_seconds END,
        error = ltrim(
            coalesce(error, '')
            || CASE WHEN abs(hashrate) > 1e300 THEN '; hashrate was ' || hashrate ELSE '' END
            || CASE WHEN abs(xmr_price_usd) > 1e300 THEN '; xmr_price_usd was ' || xmr_price_usd ELSE '' END
            || CASE WHEN abs(uptime_seconds) > 1e300 THEN '; uptime_seconds was ' || uptime_seconds ELSE '' END,
            '; '
        )
    WHERE id = NEW.id;
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

-- Made with the file: a random UUID, which a copy keeps.
INSERT INTO meta (key, value)
SELECT
    'host_id',
    substr(digits, 1, 8) || '-' || substr(digits, 9, 4) || '-4' || substr(digits, 14, 3)
        || '-' || substr('89ab', 1 + (random() & 3), 1) || substr(digits, 18, 3) || '-' || substr(digits, 21)
FROM (SELECT lower(hex(randomblob(16))) AS digits LIMIT 1);
