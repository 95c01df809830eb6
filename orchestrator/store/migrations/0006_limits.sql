-- What the number is left of that may be spent; NULL: it has no limit, or the limit is not known.
ALTER TABLE credit_snapshots ADD COLUMN limit_nano INTEGER;

ALTER TABLE alert_states ADD COLUMN limit_nano INTEGER;
