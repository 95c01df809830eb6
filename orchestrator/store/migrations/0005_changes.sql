-- Counts of changes, whoever makes them: who remembers what was read asks here whether that still holds.

-- Every change of a snapshot. Calls and costs are written all the time and are none.
INSERT INTO meta (key, value) VALUES ('snapshot_changes', '0');

CREATE TRIGGER revenue_snapshots_inserted AFTER INSERT ON revenue_snapshots
BEGIN
    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'snapshot_changes';
END;

CREATE TRIGGER revenue_snapshots_updated AFTER UPDATE ON revenue_snapshots
BEGIN
    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'snapshot_changes';
END;

CREATE TRIGGER revenue_snapshots_deleted AFTER DELETE ON revenue_snapshots
BEGIN
    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'snapshot_changes';
END;

-- Every change of a call that was there. A new one is none where its id is above all others: that is how it is found. None is below 1.
INSERT INTO meta (key, value) VALUES ('call_changes', '0');

CREATE TRIGGER ai_calls_change_counted AFTER UPDATE OF
    day, service, model, operation, tier, tenant_id, user_id, succeeded, cache_hit,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, voided_at
ON ai_calls
BEGIN
    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'call_changes';
END;

CREATE TRIGGER ai_calls_delete_counted AFTER DELETE ON ai_calls
BEGIN
    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'call_changes';
END;

CREATE TRIGGER ai_calls_insert_counted AFTER INSERT ON ai_calls
WHEN NEW.id < max(1, (SELECT max(id) FROM ai_calls))
BEGIN
    SELECT RAISE(ABORT, 'ids begin with 1')
    WHERE NEW.id < 1;

    UPDATE meta SET value = CAST(value + 1 AS TEXT) WHERE key = 'call_changes';
END;
