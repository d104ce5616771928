-- How the carrier's flights have landed lately. A landing is the moment when a delay becomes known.
-- The gateway asks for rows in ($since, $until]; each needs what lies in its window before.
SELECT DISTINCT
    carrier,
    landed_time AS event_time,
    landed_time AS created_time,
    avg(late) OVER six_hours AS late_rate_6h,
    avg(late) OVER week AS late_rate_7d,
    avg(arr_delay) OVER day AS mean_delay_1d,
    count(*) OVER day AS landed_1d
FROM flights
WHERE landed_time > $since - INTERVAL 7 DAY AND landed_time <= $until
WINDOW
    six_hours AS (PARTITION BY carrier ORDER BY landed_time RANGE BETWEEN INTERVAL 6 HOUR PRECEDING AND CURRENT ROW),
    day AS (PARTITION BY carrier ORDER BY landed_time RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
    week AS (PARTITION BY carrier ORDER BY landed_time RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW)
