-- How the aircraft has landed lately, and what it is. Aircraft without a tail number share a row that means nothing, so
-- they are left out and get the defaults.
SELECT DISTINCT
    flights.tailnum,
    landed_time AS event_time,
    landed_time AS created_time,
    avg(late) OVER month AS late_rate_28d,
    max(arr_delay) OVER now AS last_delay,
    count(*) OVER month AS landed_28d,
    planes.age_years,
    planes.seats
FROM flights
LEFT JOIN planes ON planes.tailnum = flights.tailnum
WHERE
    landed_time > $since - INTERVAL 28 DAY
    AND landed_time <= $until
    AND flights.tailnum <> 'unknown'
WINDOW
    now AS (PARTITION BY flights.tailnum ORDER BY landed_time RANGE BETWEEN CURRENT ROW AND CURRENT ROW),
    month AS (PARTITION BY flights.tailnum ORDER BY landed_time RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW)
