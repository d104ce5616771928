-- How flights on the route have landed lately.
SELECT DISTINCT
    route,
    landed_time AS event_time,
    landed_time AS created_time,
    avg(late) OVER day AS late_rate_1d,
    avg(late) OVER month AS late_rate_28d,
    avg(arr_delay) OVER week AS mean_delay_7d,
    count(*) OVER month AS landed_28d
FROM flights
WHERE landed_time > $since - INTERVAL 28 DAY AND landed_time <= $until
WINDOW
    day AS (PARTITION BY route ORDER BY landed_time RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW),
    week AS (PARTITION BY route ORDER BY landed_time RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW),
    month AS (PARTITION BY route ORDER BY landed_time RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW)
