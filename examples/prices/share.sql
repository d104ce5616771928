SELECT
    symbol,
    closed_at AS event_time,
    CASE WHEN count(*) OVER days = 20 THEN avg(close) OVER days END AS price_sma_20,
    CASE
        WHEN count(*) OVER days = 20
        THEN (volume - avg(volume) OVER days) / nullif(stddev_samp(volume) OVER days, 0)
    END AS volume_zscore
FROM prices
-- A window of 20 rows: 20 trading days are 28 days, holidays aside; 60 are enough.
WHERE closed_at > $since - INTERVAL 60 DAY AND closed_at <= $until
WINDOW days AS (PARTITION BY symbol ORDER BY closed_at ROWS 19 PRECEDING)
