-- Counts every change of revenue_snapshots, whoever makes it: who remembers what was read of them asks here, because calls and costs are
-- written all the time and change nothing of it.
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
