-- How flights have left the airport in the last hours. The delay of a departure is known when the aircraft leaves.
SELECT DISTINCT
    origin,
    departed_time AS event_time,
    departed_time AS created_time,
    avg(dep_delay) OVER hour AS mean_delay_1h,
    avg(dep_delay) OVER three_hours AS mean_delay_3h,
    avg((dep_delay > 15)::DOUBLE) OVER three_hours AS late_rate_3h,
    count(*) OVER hour AS departed_1h
FROM flights
WHERE departed_time > $since - INTERVAL 3 HOUR AND departed_time <= $until
WINDOW
    hour AS (PARTITION BY origin ORDER BY departed_time RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW),
    three_hours AS (PARTITION BY origin ORDER BY departed_time RANGE BETWEEN INTERVAL 3 HOUR PRECEDING AND CURRENT ROW)
