-- Views are dropped and made anew with every migration: one that changes needs a numbered .sql file beside it, even an empty one.
-- A view that retires is dropped by a migration.

-- Each source's last good row. The sources are found one after the other in the index: DISTINCT would read all of it.
CREATE VIEW latest_snapshots AS
WITH RECURSIVE known (source) AS (
    SELECT min(source) FROM revenue_snapshots
    UNION ALL
    SELECT (SELECT min(other.source) FROM revenue_snapshots AS other WHERE other.source > known.source)
    FROM known
    WHERE known.source IS NOT NULL
)
SELECT
    snapshot.id,
    snapshot.source,
    snapshot.collected_at,
    snapshot.balance_atomic,
    snapshot.paid_atomic,
    snapshot.hashrate,
    snapshot.xmr_price_usd,
    snapshot.requests_served,
    snapshot.tokens_generated,
    snapshot.raw_json,
    snapshot.error,
    snapshot.uptime_seconds,
    snapshot.healthy,
    snapshot.last_hash_at
FROM known
JOIN revenue_snapshots AS snapshot ON snapshot.id = (
    SELECT newest.id
    FROM revenue_snapshots AS newest
    WHERE newest.source = known.source AND newest.good AND newest.collected_at IS NOT NULL
    ORDER BY newest.collected_at DESC, newest.id DESC
    LIMIT 1
);

-- One line a metric, for charts. Unknown is a gap: rows without a value are left out.
CREATE VIEW timeseries AS
SELECT collected_at AS time, 'xmr_balance' AS metric, balance_atomic / 1e12 AS value
FROM revenue_snapshots
WHERE source = 'xmr-mining' AND collected_at IS NOT NULL AND balance_atomic IS NOT NULL
UNION ALL
SELECT collected_at AS time, 'hashrate' AS metric, hashrate AS value
FROM revenue_snapshots
WHERE source = 'xmr-mining' AND collected_at IS NOT NULL AND hashrate IS NOT NULL
UNION ALL
SELECT collected_at AS time, 'xmr_price_usd' AS metric, xmr_price_usd AS value
FROM revenue_snapshots
WHERE source = 'xmr-mining' AND collected_at IS NOT NULL AND xmr_price_usd IS NOT NULL
UNION ALL
SELECT collected_at AS time, 'mlx_requests' AS metric, requests_served AS value
FROM revenue_snapshots
WHERE source = 'mlx-api' AND collected_at IS NOT NULL AND requests_served IS NOT NULL
UNION ALL
SELECT collected_at AS time, 'mlx_tokens' AS metric, tokens_generated AS value
FROM revenue_snapshots
WHERE source = 'mlx-api' AND collected_at IS NOT NULL AND tokens_generated IS NOT NULL
UNION ALL
SELECT collected_at AS time, 'credits_usd' AS metric, remaining_nano / 1e9 AS value
FROM credit_snapshots
WHERE remaining_nano IS NOT NULL;

-- The alerts that a limit's thresholds raised. `recipients` are the channels where a message about it arrived.
CREATE VIEW budget_alerts AS
SELECT
    alert.raised_at,
    alert.day,
    alert.scope,
    alert.period,
    alert.threshold_percent,
    alert.severity,
    alert.spent_nano / 1e9 AS spent_usd,
    alert.limit_nano / 1e9 AS limit_usd,
    (
        SELECT group_concat(delivery.channel, ', ')
        FROM deliveries AS delivery
        WHERE delivery.alert_id = alert.id AND delivery.sent_at IS NOT NULL
    ) AS recipients,
    alert.spent_nano,
    alert.limit_nano
FROM alerts AS alert
WHERE alert.kind = 'budget';
