-- The weather at the airport, hour by hour, known when it is observed.
SELECT
    origin,
    observed_time AS event_time,
    observed_time AS created_time,
    temperature, humidity, wind_speed, rain, pressure, visibility
FROM weather
WHERE observed_time > $since AND observed_time <= $until
