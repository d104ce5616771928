"""Sources of every kind give the same rows, and what a definition says of them is checked."""

import datetime as dt

import duckdb
import obstore
import psycopg
import pytest

from features.definitions import Source
from features.errors import DefinitionInvalidError, SourceUnreadableError
from features.grammar import read_definitions
from features.offline import OfflineLimits, open_offline

ROWS = (
    "SELECT 's' || (i % 3) AS symbol, TIMESTAMP '2024-01-01 09:30' + to_hours(i::INT) AS moment, i / 4.0 AS price, "
    "i * 10 AS volume, i % 2 = 0 AS even, CASE WHEN i > 2 THEN i END AS late FROM range(9) t(i)"
)
TAKEN = "SELECT symbol, moment, price, volume, even, late FROM prices ORDER BY moment"


@pytest.fixture
def expected():
    return duckdb.sql(ROWS).fetchall()


@pytest.fixture(params=["parquet", "csv", "duckdb", "postgresql", "s3-parquet", "s3-csv"])
def prices(request, tmp_path):
    """Return a source of each kind that holds the rows."""
    kind = request.param
    if kind == "duckdb":
        with duckdb.connect(str(tmp_path / "prices.duckdb")) as connection:
            connection.execute(f"CREATE SCHEMA market; CREATE TABLE market.prices AS {ROWS}")
        return Source(name="prices", kind="duckdb", path=str(tmp_path / "prices.duckdb"), table="market.prices")
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").create()
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE prices (symbol text, moment timestamp, price numeric, volume bigint, even bool, late int)"
            )
            cursor.executemany("INSERT INTO prices VALUES (%s, %s, %s, %s, %s, %s)", duckdb.sql(ROWS).fetchall())
        return Source(name="prices", kind="postgresql", path=url, table="public.prices")
    kind = kind.removeprefix("s3-")
    path = tmp_path / f"prices.{kind}"
    duckdb.sql(f"COPY ({ROWS}) TO '{path}' (FORMAT {kind})")
    if request.param.startswith("s3-"):
        request.getfixturevalue("bucket_credentials")
        server = request.getfixturevalue("bucket_server")
        address = server.create()
        obstore.put(server.raw(address), path.name, path)
        place, _, options = address.partition("?")
        return Source(name="prices", kind=kind, path=f"{place}/{path.name}?{options}")
    return Source(name="prices", kind=kind, path=str(path))


def rows_of(source, limits):
    with open_offline([source], limits) as store:
        return [tuple(row.values()) for row in store.stream(TAKEN, {}).read_all().to_pylist()]


def test_each_kind_of_source_gives_the_same_rows(prices, limits, expected):
    assert rows_of(prices, limits) == expected
    assert rows_of(prices, limits) == expected, "and again: a query changes nothing"


def test_what_is_brought_here_is_bounded_and_gone_afterwards(postgresql, tmp_path):
    url = postgresql.create()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE wide AS SELECT i AS n, md5(i::text) AS t FROM generate_series(1, 200000) s(i)")
    source = Source(name="wide", kind="postgresql", path=url, table="wide")
    limits = OfflineLimits(scratch=tmp_path, scratch_bytes_max=100_000)
    with pytest.raises(SourceUnreadableError, match="larger than"), open_offline([source], limits):
        pytest.fail("it was opened")
    assert list(tmp_path.glob("turnout-offline-*")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "postgresql", "path": "postgresql://nobody@127.0.0.1:1/none", "table": "t"},
        {"kind": "parquet", "path": "s3://none/x.parquet?endpoint=http://127.0.0.1:1&region=x"},
        {"kind": "duckdb", "path": "/none.duckdb", "table": "t"},
    ],
)
def test_a_source_that_cannot_be_reached_is_named(changes, limits, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    source = Source(name="lost", **changes)
    with pytest.raises(SourceUnreadableError, match="source lost"), open_offline([source], limits):
        pytest.fail("it was opened")


def declared(**source):
    text = "[[source]]\n" + "".join(f'{name} = "{value}"\n' for name, value in ({"name": "s"} | source).items())
    [found] = read_definitions({"s.toml": text}, "/data").sources
    return found


def test_a_source_is_declared_with_what_its_kind_takes():
    assert declared(kind="parquet", path="s3://b/k.parquet?region=x").path == "s3://b/k.parquet?region=x"
    found = declared(kind="duckdb", path="a.duckdb", table="main.t")
    assert (found.path, found.table) == ("/data/a.duckdb", "main.t")
    assert declared(kind="postgresql", path="postgresql://u@h:5432/d", table="t").kind == "postgresql"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "excel", "path": "a.xls"}, "kind is one of"),
        ({"kind": "parquet", "path": "a.parquet", "table": "t"}, "a table is named"),
        ({"kind": "duckdb", "path": "a.duckdb"}, "a table is named"),
        ({"kind": "duckdb", "path": "a.duckdb", "table": "t; DROP TABLE t"}, "table is like"),
        ({"kind": "duckdb", "path": "s3://b/a.duckdb", "table": "t"}, "a file of this machine"),
        ({"kind": "postgresql", "path": "postgresql://u:secret@h/d", "table": "t"}, "no part of a definition"),
        ({"kind": "postgresql", "path": "mysql://h/d", "table": "t"}, "postgresql://"),
        ({"kind": "csv", "path": "http://h/a.csv"}, "s3://"),
        ({"kind": "csv", "path": "file:///etc/passwd"}, "s3://"),
        ({"kind": "csv", "path": "a*.csv"}, "one file"),
        ({"name": "turnout_labels", "kind": "csv", "path": "a.csv"}, "Turnout's own"),
    ],
)
def test_a_source_that_says_what_it_cannot_say_is_refused(source, message):
    with pytest.raises(DefinitionInvalidError, match=message):
        declared(**source)


def test_dates_and_texts_of_postgresql_keep_what_they_are(postgresql, limits):
    url = postgresql.create()
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE prices AS SELECT 'x'::varchar AS symbol, '2024-03-01 12:00+02'::timestamptz AS moment, "
            "NULL::float8 AS price, 1::int2 AS volume, NULL::bool AS even, '2024-01-01'::date AS late"
        )
    source = Source(name="prices", kind="postgresql", path=url, table="prices")
    [row] = rows_of(source, limits)
    assert row == ("x", dt.datetime(2024, 3, 1, 10, tzinfo=dt.UTC), None, 1, None, dt.date(2024, 1, 1))
