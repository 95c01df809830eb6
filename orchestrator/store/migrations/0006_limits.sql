-- What the number is left of that may be spent: the limit of the key or the budget, for the account what was ever bought; NULL: not known.
ALTER TABLE credit_snapshots ADD COLUMN limit_nano INTEGER;

ALTER TABLE alert_states ADD COLUMN limit_nano INTEGER;
