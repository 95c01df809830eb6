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

-- What each local day earned: booked revenue, and the mining of closed days. NULL: nothing of it is known in USD.
CREATE VIEW revenue_daily AS
SELECT
    revenue.day AS day,
    revenue.source AS source,
    revenue.strategy_id AS strategy_id,
    sum(revenue.amount_nano) / 1e9 AS revenue_usd,
    sum(revenue.amount_nano) AS revenue_nano
FROM revenue
WHERE revenue.voided_at IS NULL AND revenue.day IS NOT NULL
GROUP BY revenue.day, revenue.source, revenue.strategy_id
UNION ALL
SELECT
    daily_growth.day AS day,
    daily_growth.source AS source,
    NULL AS strategy_id,
    daily_growth.earned_nano / 1e9 AS revenue_usd,
    daily_growth.earned_nano AS revenue_nano
FROM daily_growth
WHERE daily_growth.source = 'xmr-mining';

-- What each local day cost: AI calls, and its share of every operating cost. A cost is the sum of what is known of it.
CREATE VIEW costs_daily AS
SELECT
    daily_costs.day AS day,
    'ai' AS kind,
    'ai_inference' AS category,
    nullif(daily_costs.service, '') AS service,
    nullif(daily_costs.tenant_id, '') AS tenant_id,
    sum(daily_costs.cost_nano) / 1e9 AS cost_usd,
    sum(daily_costs.cost_nano) AS cost_nano,
    sum(daily_costs.calls) AS calls,
    sum(daily_costs.unpriced_calls) AS unpriced_calls
FROM daily_costs
GROUP BY daily_costs.day, daily_costs.tenant_id, daily_costs.service
UNION ALL
SELECT
    daily_operating_costs.day AS day,
    'operating' AS kind,
    daily_operating_costs.category AS category,
    nullif(daily_operating_costs.service, '') AS service,
    nullif(daily_operating_costs.tenant_id, '') AS tenant_id,
    daily_operating_costs.amount_nano / 1e9 AS cost_usd,
    daily_operating_costs.amount_nano AS cost_nano,
    0 AS calls,
    0 AS unpriced_calls
FROM daily_operating_costs;

-- The meaning of profit and loss, by local day: sums of what is known, a row for each day of which anything is. The days come first,
-- those with calls together with their sums, and look up the rest: a condition on `day` then reads only those days, also after ten years.
CREATE VIEW pnl_daily AS
SELECT
    sums.day AS day,
    sums.revenue_nano / 1e9 AS revenue_usd,
    sums.revenue_nano AS revenue_nano,
    (sums.ai_nano + sums.operating_nano) / 1e9 AS costs_usd,
    sums.ai_nano + sums.operating_nano AS costs_nano,
    (sums.revenue_nano - sums.ai_nano - sums.operating_nano) / 1e9 AS net_usd,
    sums.revenue_nano - sums.ai_nano - sums.operating_nano AS net_nano,
    sums.ai_nano / 1e9 AS ai_usd,
    sums.ai_nano AS ai_nano,
    sums.operating_nano / 1e9 AS operating_usd,
    sums.operating_nano AS operating_nano,
    sums.unpriced_calls AS unpriced_calls
FROM (
    SELECT
        days.day AS day,
        coalesce((
            SELECT sum(booked.amount_nano)
            FROM revenue AS booked
            WHERE booked.day = days.day AND booked.voided_at IS NULL
        ), 0) + coalesce((
            SELECT sum(mined.earned_nano)
            FROM daily_growth AS mined
            WHERE mined.day = days.day AND mined.source = 'xmr-mining'
        ), 0) AS revenue_nano,
        days.ai_nano AS ai_nano,
        coalesce((
            SELECT sum(operating.amount_nano)
            FROM daily_operating_costs AS operating
            WHERE operating.day = days.day
        ), 0) AS operating_nano,
        days.unpriced_calls AS unpriced_calls
    FROM (
        SELECT day, sum(cost_nano) AS ai_nano, sum(unpriced_calls) AS unpriced_calls
        FROM daily_totals
        GROUP BY day
        UNION ALL
        SELECT others.day AS day, 0 AS ai_nano, 0 AS unpriced_calls
        FROM (
            SELECT day FROM revenue WHERE voided_at IS NULL AND amount_nano IS NOT NULL AND day IS NOT NULL
            UNION
            SELECT day FROM daily_growth WHERE source = 'xmr-mining' AND earned_nano IS NOT NULL
            UNION
            SELECT day FROM daily_operating_costs
        ) AS others
        WHERE NOT EXISTS (SELECT 1 FROM daily_totals AS called WHERE called.day = others.day)
    ) AS days
) AS sums;

-- One line a metric, for charts. Unknown is a gap: rows without a value are left out. A local day stands at its date's 00:00.
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
WHERE remaining_nano IS NOT NULL
UNION ALL
SELECT day || 'T00:00:00.000Z' AS time, 'cost_usd' AS metric, sum(cost_usd) AS value
FROM costs_daily
WHERE kind = 'operating' OR calls > unpriced_calls
GROUP BY day
UNION ALL
SELECT day || 'T00:00:00.000Z' AS time, 'revenue_usd' AS metric, sum(revenue_usd) AS value
FROM revenue_daily
WHERE revenue_usd IS NOT NULL
GROUP BY day;

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
