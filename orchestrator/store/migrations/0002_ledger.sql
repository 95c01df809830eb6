-- What was spent and what was earned. NULL is "not known", never 0. Money is whole nano-USD, a day is local.

-- One row a call. What it says is a fact: only `voided_at` and, through `reprice`, the cost change later.
CREATE TABLE ai_calls (
    id                 INTEGER PRIMARY KEY,
    call_id            TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    called_at          TEXT NOT NULL,     -- UTC, YYYY-MM-DDTHH:MM:SS.mmmZ
    day                TEXT CHECK (day IS date(julianday(day))),
    service            TEXT,
    model              TEXT,
    operation          TEXT,
    tier               TEXT,
    -- Beyond these bounds a number is nonsense, and its sums could leave 64 bits.
    input_tokens       INTEGER CHECK (input_tokens BETWEEN 0 AND 1000000000000),        -- neither read from nor written to a cache
    cache_read_tokens  INTEGER CHECK (cache_read_tokens BETWEEN 0 AND 1000000000000),
    cache_write_tokens INTEGER CHECK (cache_write_tokens BETWEEN 0 AND 1000000000000),
    output_tokens      INTEGER CHECK (output_tokens BETWEEN 0 AND 1000000000000),
    reasoning_tokens   INTEGER CHECK (reasoning_tokens BETWEEN 0 AND 1000000000000),    -- a part of output_tokens
    tokens_estimated   INTEGER NOT NULL DEFAULT 0 CHECK (tokens_estimated IN (0, 1)),
    quantity           REAL CHECK (quantity BETWEEN 0 AND 1e15),                        -- of `unit`, for what is not billed by tokens
    unit               TEXT,
    cost_nano          INTEGER CHECK (cost_nano BETWEEN 0 AND 10000000000000000),
    cost_source        TEXT,              -- 'reported' | 'override' | 'priced' | 'given' | 'cached' | 'failed' | 'unknown'
    price_origin_id    INTEGER,           -- in price_origins; NULL: the cost was not computed
    usage_details      TEXT,              -- JSON: what some prices tell apart inside the tokens; NULL: nothing
    tenant_id          TEXT,
    user_id            TEXT,
    organization_id    TEXT,
    session_id         TEXT,
    endpoint           TEXT,
    resource_type      TEXT,
    resource_id        TEXT,
    cache_hit          INTEGER NOT NULL DEFAULT 0 CHECK (cache_hit IN (0, 1)),
    succeeded          INTEGER NOT NULL DEFAULT 1 CHECK (succeeded IN (0, 1)),
    duration_ms        INTEGER,
    voided_at          TEXT,
    error              TEXT,              -- what the call failed with
    problem            TEXT,              -- why values of this row are not known
    metadata           TEXT               -- JSON
) STRICT;

CREATE INDEX ai_calls_by_day ON ai_calls (day);

-- Where the price of a computed cost is from, and of which day or version it is. Few: every call would repeat one.
CREATE TABLE price_origins (
    id                 INTEGER PRIMARY KEY,
    origin             TEXT NOT NULL UNIQUE
) STRICT;

-- Rollups of the calls that are not voided. A dimension that a call does not have is '' here, so that it is one row.
CREATE TABLE daily_costs (
    day                TEXT NOT NULL,
    tenant_id          TEXT NOT NULL,
    service            TEXT NOT NULL,
    model              TEXT NOT NULL,
    operation          TEXT NOT NULL,
    tier               TEXT NOT NULL,
    calls              INTEGER NOT NULL,
    failed             INTEGER NOT NULL,
    cache_hits         INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost_nano          INTEGER NOT NULL,  -- of the calls whose cost is known
    unpriced_calls     INTEGER NOT NULL,  -- those whose cost is not
    PRIMARY KEY (day, tenant_id, service, model, operation, tier)
) STRICT, WITHOUT ROWID;

CREATE TABLE daily_totals (
    day                TEXT NOT NULL,
    tenant_id          TEXT NOT NULL,
    calls              INTEGER NOT NULL,
    failed             INTEGER NOT NULL,
    cache_hits         INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost_nano          INTEGER NOT NULL,
    unpriced_calls     INTEGER NOT NULL,
    PRIMARY KEY (day, tenant_id)
) STRICT, WITHOUT ROWID;

-- Pruned together with the calls.
CREATE TABLE daily_user_costs (
    day                TEXT NOT NULL,
    tenant_id          TEXT NOT NULL,
    user_id            TEXT NOT NULL,
    calls              INTEGER NOT NULL,
    failed             INTEGER NOT NULL,
    cache_hits         INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    reasoning_tokens   INTEGER NOT NULL,
    cost_nano          INTEGER NOT NULL,
    unpriced_calls     INTEGER NOT NULL,
    PRIMARY KEY (day, tenant_id, user_id)
) STRICT, WITHOUT ROWID;

-- By how much local time is ahead of UTC from an instant on, so that a call that comes without its day can be given one.
CREATE TABLE zone_offsets (
    zone               TEXT NOT NULL,
    starts_at          TEXT NOT NULL,     -- UTC; '' for the first
    offset_seconds     INTEGER NOT NULL,
    PRIMARY KEY (zone, starts_at)
) STRICT, WITHOUT ROWID;

-- What a call adds to the rollups, or, negative, takes away. Nothing is ever in it: what is inserted goes to the three tables, so that
-- inserting, changing and deleting a call all do it in the same words.
CREATE VIEW ai_call_changes AS
SELECT
    day, tenant_id, user_id, service, model, operation, tier,
    0 AS calls, 0 AS failed, 0 AS cache_hits,
    0 AS input_tokens, 0 AS cache_read_tokens, 0 AS cache_write_tokens, 0 AS output_tokens, 0 AS reasoning_tokens,
    0 AS cost_nano, 0 AS unpriced_calls
FROM ai_calls
WHERE 1 = 0;

CREATE TRIGGER ai_call_changes_rolled_up INSTEAD OF INSERT ON ai_call_changes
BEGIN
    INSERT INTO daily_costs (
        day, tenant_id, service, model, operation, tier, calls, failed, cache_hits,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, unpriced_calls
    )
    VALUES (
        NEW.day, NEW.tenant_id, NEW.service, NEW.model, NEW.operation, NEW.tier, NEW.calls, NEW.failed, NEW.cache_hits,
        NEW.input_tokens, NEW.cache_read_tokens, NEW.cache_write_tokens, NEW.output_tokens, NEW.reasoning_tokens,
        NEW.cost_nano, NEW.unpriced_calls
    )
    ON CONFLICT (day, tenant_id, service, model, operation, tier) DO UPDATE SET
        calls = calls + excluded.calls,
        failed = failed + excluded.failed,
        cache_hits = cache_hits + excluded.cache_hits,
        input_tokens = input_tokens + excluded.input_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cost_nano = cost_nano + excluded.cost_nano,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls;

    INSERT INTO daily_totals (
        day, tenant_id, calls, failed, cache_hits,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, unpriced_calls
    )
    VALUES (
        NEW.day, NEW.tenant_id, NEW.calls, NEW.failed, NEW.cache_hits,
        NEW.input_tokens, NEW.cache_read_tokens, NEW.cache_write_tokens, NEW.output_tokens, NEW.reasoning_tokens,
        NEW.cost_nano, NEW.unpriced_calls
    )
    ON CONFLICT (day, tenant_id) DO UPDATE SET
        calls = calls + excluded.calls,
        failed = failed + excluded.failed,
        cache_hits = cache_hits + excluded.cache_hits,
        input_tokens = input_tokens + excluded.input_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cost_nano = cost_nano + excluded.cost_nano,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls;

    INSERT INTO daily_user_costs (
        day, tenant_id, user_id, calls, failed, cache_hits,
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, unpriced_calls
    )
    VALUES (
        NEW.day, NEW.tenant_id, NEW.user_id, NEW.calls, NEW.failed, NEW.cache_hits,
        NEW.input_tokens, NEW.cache_read_tokens, NEW.cache_write_tokens, NEW.output_tokens, NEW.reasoning_tokens,
        NEW.cost_nano, NEW.unpriced_calls
    )
    ON CONFLICT (day, tenant_id, user_id) DO UPDATE SET
        calls = calls + excluded.calls,
        failed = failed + excluded.failed,
        cache_hits = cache_hits + excluded.cache_hits,
        input_tokens = input_tokens + excluded.input_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cost_nano = cost_nano + excluded.cost_nano,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls;

    -- A row of no calls is no row. `NEW.calls < 0` comes first: an insert does not look for one.
    DELETE FROM daily_costs
    WHERE NEW.calls < 0 AND calls = 0 AND day = NEW.day AND tenant_id = NEW.tenant_id AND service = NEW.service
        AND model = NEW.model AND operation = NEW.operation AND tier = NEW.tier;

    DELETE FROM daily_totals
    WHERE NEW.calls < 0 AND calls = 0 AND day = NEW.day AND tenant_id = NEW.tenant_id;

    DELETE FROM daily_user_costs
    WHERE NEW.calls < 0 AND calls = 0 AND day = NEW.day AND tenant_id = NEW.tenant_id AND user_id = NEW.user_id;
END;

-- Recording twice is recording once, also for INSERT OR REPLACE, which would take the old row away without its delete trigger.
CREATE TRIGGER ai_calls_once BEFORE INSERT ON ai_calls
WHEN EXISTS (SELECT 1 FROM ai_calls WHERE call_id = NEW.call_id) OR EXISTS (SELECT 1 FROM ai_calls WHERE id = NEW.id)
BEGIN
    SELECT RAISE(IGNORE);
END;

CREATE TRIGGER ai_calls_inserted AFTER INSERT ON ai_calls
WHEN NEW.day IS NOT NULL AND NEW.voided_at IS NULL
BEGIN
    INSERT INTO ai_call_changes
    VALUES (
        NEW.day, coalesce(NEW.tenant_id, ''), coalesce(NEW.user_id, ''), coalesce(NEW.service, ''), coalesce(NEW.model, ''),
        coalesce(NEW.operation, ''), coalesce(NEW.tier, ''), 1, NOT NEW.succeeded, NEW.cache_hit,
        coalesce(NEW.input_tokens, 0), coalesce(NEW.cache_read_tokens, 0), coalesce(NEW.cache_write_tokens, 0),
        coalesce(NEW.output_tokens, 0), coalesce(NEW.reasoning_tokens, 0), coalesce(NEW.cost_nano, 0), NEW.cost_nano IS NULL
    );
END;

-- Foreign writers' rows become ours: times in other forms, a day or a source of the cost that is missing, metadata that is no JSON.
-- The GLOBs let no word become a time, as strftime would let 'now'; julianday shows that a day exists, as in 0001.
CREATE TRIGGER ai_calls_foreign AFTER INSERT ON ai_calls
WHEN NEW.day IS NULL OR NEW.cost_source IS NULL OR (NEW.metadata IS NOT NULL AND NOT json_valid(NEW.metadata))
    OR NEW.called_at GLOB '0000*' OR NEW.called_at IS NOT strftime('%Y-%m-%dT%H:%M:%fZ', julianday(NEW.called_at))
BEGIN
    UPDATE ai_calls
    SET called_at = coalesce(
            CASE
                WHEN NEW.called_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*' AND NEW.called_at NOT GLOB '*[T ]24:*'
                    AND date(julianday(substr(NEW.called_at, 1, 10))) = substr(NEW.called_at, 1, 10)
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', julianday(NEW.called_at))
                WHEN NEW.called_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.called_at, 'unixepoch')
                WHEN NEW.called_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.called_at / 1000.0, 'unixepoch')
            END,
            RAISE(ABORT, 'called_at is not a time')
        ),
        cost_source = coalesce(NEW.cost_source, CASE WHEN NEW.cost_nano IS NULL THEN 'unknown' ELSE 'given' END),
        metadata = CASE WHEN NOT json_valid(NEW.metadata) THEN json_quote(NEW.metadata) ELSE NEW.metadata END
    WHERE id = NEW.id;

    UPDATE ai_calls
    SET day = date(
            called_at,
            coalesce(
                (
                    SELECT offset_seconds
                    FROM zone_offsets
                    WHERE zone = (SELECT value FROM meta WHERE key = 'timezone') AND starts_at <= ai_calls.called_at
                    ORDER BY starts_at DESC
                    LIMIT 1
                ),
                CASE WHEN coalesce((SELECT value FROM meta WHERE key = 'timezone'), 'UTC') = 'UTC' THEN 0 END
            ) || ' seconds'
        )
    WHERE id = NEW.id AND day IS NULL;
END;

CREATE TRIGGER ai_calls_kept BEFORE UPDATE OF id, call_id ON ai_calls
WHEN NEW.id IS NOT OLD.id OR NEW.call_id IS NOT OLD.call_id
BEGIN
    SELECT RAISE(ABORT, 'a call keeps its id');
END;

CREATE TRIGGER ai_calls_changed AFTER UPDATE OF
    day, service, model, operation, tier, tenant_id, user_id, succeeded, cache_hit,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, voided_at
ON ai_calls
BEGIN
    INSERT INTO ai_call_changes
    SELECT
        OLD.day, coalesce(OLD.tenant_id, ''), coalesce(OLD.user_id, ''), coalesce(OLD.service, ''), coalesce(OLD.model, ''),
        coalesce(OLD.operation, ''), coalesce(OLD.tier, ''), -1, OLD.succeeded - 1, -OLD.cache_hit,
        -coalesce(OLD.input_tokens, 0), -coalesce(OLD.cache_read_tokens, 0), -coalesce(OLD.cache_write_tokens, 0),
        -coalesce(OLD.output_tokens, 0), -coalesce(OLD.reasoning_tokens, 0), -coalesce(OLD.cost_nano, 0),
        -(OLD.cost_nano IS NULL)
    WHERE OLD.day IS NOT NULL AND OLD.voided_at IS NULL;

    INSERT INTO ai_call_changes
    SELECT
        NEW.day, coalesce(NEW.tenant_id, ''), coalesce(NEW.user_id, ''), coalesce(NEW.service, ''), coalesce(NEW.model, ''),
        coalesce(NEW.operation, ''), coalesce(NEW.tier, ''), 1, NOT NEW.succeeded, NEW.cache_hit,
        coalesce(NEW.input_tokens, 0), coalesce(NEW.cache_read_tokens, 0), coalesce(NEW.cache_write_tokens, 0),
        coalesce(NEW.output_tokens, 0), coalesce(NEW.reasoning_tokens, 0), coalesce(NEW.cost_nano, 0), NEW.cost_nano IS NULL
    WHERE NEW.day IS NOT NULL AND NEW.voided_at IS NULL;
END;

-- Days before the mark were pruned: their rollups are all that is left of them.
CREATE TRIGGER ai_calls_deleted AFTER DELETE ON ai_calls
WHEN OLD.day IS NOT NULL AND OLD.voided_at IS NULL
    AND OLD.day >= coalesce((SELECT value FROM meta WHERE key = 'pruned_before'), '')
BEGIN
    INSERT INTO ai_call_changes
    VALUES (
        OLD.day, coalesce(OLD.tenant_id, ''), coalesce(OLD.user_id, ''), coalesce(OLD.service, ''), coalesce(OLD.model, ''),
        coalesce(OLD.operation, ''), coalesce(OLD.tier, ''), -1, OLD.succeeded - 1, -OLD.cache_hit,
        -coalesce(OLD.input_tokens, 0), -coalesce(OLD.cache_read_tokens, 0), -coalesce(OLD.cache_write_tokens, 0),
        -coalesce(OLD.output_tokens, 0), -coalesce(OLD.reasoning_tokens, 0), -coalesce(OLD.cost_nano, 0),
        -(OLD.cost_nano IS NULL)
    );
END;

-- What is spent on anything but AI calls: hosting, storage, licences. Spread over its local days in daily_operating_costs.
CREATE TABLE operating_costs (
    id                 INTEGER PRIMARY KEY,
    entry_id           TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    category           TEXT NOT NULL CHECK (lower(category) <> 'ai_inference'),     -- AI calls are in ai_calls
    service            TEXT,
    description        TEXT,
    amount_nano        INTEGER CHECK (amount_nano BETWEEN -100000000000000000 AND 100000000000000000),
    quantity           REAL CHECK (quantity BETWEEN 0 AND 1e15),
    unit               TEXT,
    period_start       TEXT NOT NULL CHECK (period_start IS strftime('%Y-%m-%dT%H:%M:%fZ', julianday(period_start))),
    period_end         TEXT CHECK (period_end IS strftime('%Y-%m-%dT%H:%M:%fZ', julianday(period_end))),     -- exclusive; NULL: on the day of period_start
    tenant_id          TEXT,
    resource_type      TEXT,
    resource_id        TEXT,
    voided_at          TEXT,
    problem            TEXT               -- why values of this row are not known
) STRICT;

-- Each operating cost's share of each local day, written with the cost itself. '' is a dimension that a cost does not have.
CREATE TABLE daily_operating_costs (
    day                TEXT NOT NULL,
    category           TEXT NOT NULL,
    service            TEXT NOT NULL,
    tenant_id          TEXT NOT NULL,
    amount_nano        INTEGER NOT NULL,
    entries            INTEGER NOT NULL,  -- how many costs have a share in it
    PRIMARY KEY (day, category, service, tenant_id)
) STRICT, WITHOUT ROWID;

-- What people and agents book. Mining is no entry: it is in daily_growth.
CREATE TABLE revenue (
    id                 INTEGER PRIMARY KEY,
    entry_id           TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    source             TEXT NOT NULL CHECK (lower(source) <> 'xmr-mining'),
    strategy_id        TEXT,
    earned_at          TEXT NOT NULL,     -- UTC
    day                TEXT CHECK (day IS date(julianday(day))),
    amount_nano        INTEGER CHECK (amount_nano BETWEEN -100000000000000000 AND 100000000000000000),    -- NULL: no rate is known
    currency           TEXT NOT NULL DEFAULT 'USD',
    original_amount    TEXT,              -- decimal, in that currency
    tenant_id          TEXT,
    note               TEXT,
    voided_at          TEXT,
    problem            TEXT               -- why values of this row are not known
) STRICT;

CREATE INDEX revenue_by_day ON revenue (day);

CREATE TRIGGER revenue_foreign AFTER INSERT ON revenue
WHEN NEW.day IS NULL
    OR NEW.earned_at GLOB '0000*' OR NEW.earned_at IS NOT strftime('%Y-%m-%dT%H:%M:%fZ', julianday(NEW.earned_at))
BEGIN
    UPDATE revenue
    SET earned_at = coalesce(
            CASE
                WHEN NEW.earned_at GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*' AND NEW.earned_at NOT GLOB '*[T ]24:*'
                    AND date(julianday(substr(NEW.earned_at, 1, 10))) = substr(NEW.earned_at, 1, 10)
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', julianday(NEW.earned_at))
                WHEN NEW.earned_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.earned_at, 'unixepoch')
                WHEN NEW.earned_at GLOB '[1-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]'
                    THEN strftime('%Y-%m-%dT%H:%M:%fZ', NEW.earned_at / 1000.0, 'unixepoch')
            END,
            RAISE(ABORT, 'earned_at is not a time')
        )
    WHERE id = NEW.id;

    UPDATE revenue
    SET day = date(
            earned_at,
            coalesce(
                (
                    SELECT offset_seconds
                    FROM zone_offsets
                    WHERE zone = (SELECT value FROM meta WHERE key = 'timezone') AND starts_at <= revenue.earned_at
                    ORDER BY starts_at DESC
                    LIMIT 1
                ),
                CASE WHEN coalesce((SELECT value FROM meta WHERE key = 'timezone'), 'UTC') = 'UTC' THEN 0 END
            ) || ' seconds'
        )
    WHERE id = NEW.id AND day IS NULL;
END;
