-- Ids of calls that were pruned, as numbers made of them: recorded again, such a call is still a duplicate.
CREATE TABLE pruned_calls (
    id_hash            INTEGER PRIMARY KEY    -- the first 8 bytes of the id's SHA-256, as a signed number
) STRICT;

-- P&L asks which amounts are not known, and there are few.
CREATE INDEX operating_costs_unknown ON operating_costs (period_start) WHERE amount_nano IS NULL;

-- It also asks which costs have no shares of days yet. In a file from before that was noted they all do, if the sums agree.
INSERT INTO meta (key, value)
SELECT 'operating_costs_shared', CAST(id AS TEXT)
FROM operating_costs
WHERE id = (SELECT max(id) FROM operating_costs)
    AND NOT EXISTS (
        SELECT 1
        FROM (
            SELECT category, coalesce(service, '') AS whose, coalesce(tenant_id, '') AS tenant, amount_nano
            FROM operating_costs
            WHERE voided_at IS NULL
            UNION ALL
            SELECT category, service, tenant_id, -amount_nano
            FROM daily_operating_costs
        )
        GROUP BY category, whose, tenant
        HAVING sum(amount_nano) <> 0
    )
ON CONFLICT (key) DO NOTHING;

-- Until a new row has its id, SQLite says that it is -1: a row that had this one would keep all others out.
DROP TRIGGER ai_calls_once;

CREATE TRIGGER ai_calls_once BEFORE INSERT ON ai_calls
WHEN EXISTS (SELECT 1 FROM ai_calls WHERE call_id = NEW.call_id)
    OR (NEW.id > 0 AND EXISTS (SELECT 1 FROM ai_calls WHERE id = NEW.id))
BEGIN
    SELECT RAISE(IGNORE);
END;

-- Somebody else corrects the time of a call, and says nothing of its day. The trigger that makes foreign times ours begins with times
-- in other forms, this one with ours, so neither takes up what the other did.
CREATE TRIGGER ai_calls_moved AFTER UPDATE OF called_at ON ai_calls
WHEN NEW.called_at IS NOT OLD.called_at AND NEW.day IS OLD.day
    AND OLD.called_at NOT GLOB '0000*' AND OLD.called_at IS strftime('%Y-%m-%dT%H:%M:%fZ', julianday(OLD.called_at))
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
        day = NULL
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
    WHERE id = NEW.id;
END;

CREATE TRIGGER revenue_moved AFTER UPDATE OF earned_at ON revenue
WHEN NEW.earned_at IS NOT OLD.earned_at AND NEW.day IS OLD.day
    AND OLD.earned_at NOT GLOB '0000*' AND OLD.earned_at IS strftime('%Y-%m-%dT%H:%M:%fZ', julianday(OLD.earned_at))
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
        ),
        day = NULL
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
    WHERE id = NEW.id;
END;
