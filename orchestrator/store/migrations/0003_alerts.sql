-- What is left to spend, what the operator is told, and what came of telling it. NULL is "not known", never 0.

-- One row for each look at OpenRouter, also when it failed. Money is whole nano-USD.
CREATE TABLE credit_snapshots (
    id                    INTEGER PRIMARY KEY,
    collected_at          TEXT NOT NULL,    -- UTC, YYYY-MM-DDTHH:MM:SS.mmmZ
    remaining_nano        INTEGER,          -- may be spent: the least of the three below that are known; may be negative
    remaining_source      TEXT,             -- which of them it is: 'key limit' | 'budget' | 'account'
    limit_remaining_nano  INTEGER,
    budget_remaining_nano INTEGER,
    account_nano          INTEGER,
    usage_nano            INTEGER,          -- of the key, since it was made
    usage_daily_nano      INTEGER,          -- of the key, since 00:00 UTC
    limit_reset           TEXT,             -- 'daily' | 'weekly' | 'monthly'; NULL: the limit stays
    failure               TEXT,             -- 'rejected' | 'out_of_money' | 'unreachable'; NULL: the key works
    raw_json              TEXT,             -- the answers, redacted
    error                 TEXT              -- why values are NULL
) STRICT;

CREATE INDEX credit_snapshots_by_time ON credit_snapshots (collected_at);

CREATE INDEX credit_snapshots_good ON credit_snapshots (collected_at) WHERE remaining_nano IS NOT NULL;

CREATE INDEX credit_snapshots_answered ON credit_snapshots (collected_at) WHERE failure IS NULL;

-- One row for each time that a condition came true. It is a fact; later only what is said of it since, and its end, are added.
CREATE TABLE alerts (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,    -- stands in messages, so none is given twice
    condition             TEXT NOT NULL,    -- as in alert_states
    kind                  TEXT NOT NULL,    -- the condition without what it is about: 'low_credits', 'source_silent', 'budget'
    severity              TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical', 'emergency')),
    raised_at             TEXT NOT NULL,
    brief                 TEXT NOT NULL,    -- a few words, for a prompt
    title                 TEXT NOT NULL,    -- a sentence
    text                  TEXT NOT NULL DEFAULT '',
    what_to_do            TEXT,
    remaining_nano        INTEGER,
    -- What a budget's alert has besides.
    day                   TEXT,             -- local, the first of the period
    scope                 TEXT,
    period                TEXT,             -- 'day' | 'month'
    threshold_percent     INTEGER,
    spent_nano            INTEGER,
    limit_nano            INTEGER,
    -- How many things there were to say so far (the alert, each reminder, its end), and when the last one came up.
    said                  INTEGER NOT NULL DEFAULT 1,
    said_at               TEXT NOT NULL,
    acknowledged_at       TEXT,
    resolved_at           TEXT,             -- NULL: it lasts; raised_at itself: it was over when it was noticed
    resolution            TEXT              -- a sentence; NULL: nobody is told that it is over
) STRICT;

CREATE INDEX alerts_open ON alerts (id) WHERE resolved_at IS NULL AND acknowledged_at IS NULL;

CREATE INDEX alerts_by_condition ON alerts (condition, raised_at);

CREATE INDEX alerts_by_time ON alerts (raised_at);

-- What is true now, so that nobody says it twice: not after a restart, and not a second process beside the first.
CREATE TABLE alert_states (
    condition             TEXT NOT NULL PRIMARY KEY,
    alert_id              INTEGER REFERENCES alerts (id) ON DELETE SET NULL,    -- NULL: it is not true now
    said_at               TEXT NOT NULL,    -- when it was last alerted or reminded of
    brief                 TEXT NOT NULL,    -- the alert's words as they would be now
    title                 TEXT NOT NULL,
    text                  TEXT NOT NULL,
    what_to_do            TEXT,
    remaining_nano        INTEGER
) STRICT, WITHOUT ROWID;

-- The places that messages go to, as they were configured; one whose configuration changes is another row.
CREATE TABLE channels (
    name                  TEXT NOT NULL,    -- 'discord' | 'discord-dm' | 'slack' | 'email:' and an address
    fingerprint           TEXT NOT NULL,    -- changes with the configuration and tells nothing of it
    configured            INTEGER NOT NULL CHECK (configured IN (0, 1)),    -- 0: no longer
    seen_alert_id         INTEGER NOT NULL, -- alerts up to this one have their delivery, or need none
    failures              INTEGER NOT NULL DEFAULT 0,   -- since the last message that arrived
    next_attempt_at       TEXT,             -- NULL: at once
    claimed_by            TEXT,             -- who is sending now
    claimed_until         TEXT,
    last_sent_at          TEXT,
    stopped_at            TEXT,             -- NULL: it is used
    reason                TEXT,             -- why it is stopped, or why the last attempt failed
    PRIMARY KEY (name, fingerprint)
) STRICT, WITHOUT ROWID;

-- What was sent where. Several alerts that wait go out as one message, so a channel's attempts are counted by alert.
CREATE TABLE deliveries (
    alert_id              INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel               TEXT NOT NULL,
    state                 TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'expired', 'dropped')),
    said                  INTEGER NOT NULL DEFAULT 0,   -- how much of what the alert has to say has arrived
    attempts              INTEGER NOT NULL DEFAULT 0,
    sent_at               TEXT,             -- the last time that a message arrived
    due_at                TEXT,             -- a reminder waits until then; NULL: at once
    reason                TEXT,             -- what the last attempt said
    PRIMARY KEY (alert_id, channel)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_waiting ON deliveries (channel, alert_id) WHERE state = 'waiting';
