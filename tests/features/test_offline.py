"""The fence around other people's SQL, and the limits it runs under."""

from __future__ import annotations

import dataclasses

import pytest

from features.definitions import Feature, Source, View
from features.errors import FeatureSqlInvalidError, OfflineQueryError, SourceUnreadableError
from features.offline import OfflineLimits, open_offline
from features.view_rows import check_view, view_rows


@pytest.fixture
def numbers(write_source):
    return write_source(
        "numbers", "SELECT range AS n, TIMESTAMP '2013-01-01' + to_days(range::INT) AS event_time FROM range(9)"
    )


@pytest.fixture
def secret(write_source):
    return write_source("secret", "SELECT 'password' AS text")


def run(sources, limits, sql):
    with open_offline(sources, limits) as store:
        store.columns(sql, {})
        return store.stream(f"SELECT * FROM ({sql})", {}).read_all().to_pydict()


def test_the_declared_sources_are_tables(numbers, limits, write_source):
    texts = write_source("texts", "SELECT unnest(['NA', 'a']) AS t, 1 AS n", kind="csv")
    assert run([numbers], limits, "SELECT max(n) AS m FROM numbers") == {"m": [8]}
    assert run([texts, numbers], limits, "SELECT t FROM texts JOIN numbers USING (n) ORDER BY t") == {"t": ["a", None]}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{secret}'",
        "SELECT * FROM read_parquet('{secret}')",
        "SELECT * FROM parquet_metadata('{secret}')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM numbers_in_python",
        "SELECT * FROM query('SELECT * FROM ''{secret}''')",
        "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
        "SELECT getenv('HOME')",
        "COPY (SELECT 1) TO '{secret}'",
        "ATTACH '{secret}'",
        "INSTALL httpfs",
        "SET threads = 8",
        "PRAGMA version",
        "SELECT 1; SELECT 2",
        "SELECT $since",
        "WITH gone AS (DELETE FROM numbers RETURNING *) SELECT * FROM gone",
        "SELECT 1) UNION ALL (SELECT 2",
    ],
)
def test_nothing_else_is_within_reach(numbers, secret, limits, sql):
    numbers_in_python = [1]
    with pytest.raises(FeatureSqlInvalidError):
        run([numbers], limits, sql.format(secret=secret.path))
    assert run([secret], limits, "SELECT * FROM secret") == {"text": ["password"]}, numbers_in_python


def test_the_configuration_is_locked(numbers, limits):
    with open_offline([numbers], limits) as store, pytest.raises(FeatureSqlInvalidError, match="locked"):
        store.one("SET enable_external_access = true")


def test_a_path_with_a_quote_is_only_a_path(tmp_path, limits):
    source = Source(name="s", kind="parquet", path=f"{tmp_path}/a'; SELECT 1; --.parquet")
    with pytest.raises(SourceUnreadableError), open_offline([source], limits):
        pytest.fail("it was opened")


def test_a_query_that_takes_too_long_is_ended(numbers, limits):
    with pytest.raises(OfflineQueryError):
        run(
            [numbers],
            dataclasses.replace(limits, run_ms_max=100),
            "SELECT sum(hash(a.range * b.range)) FROM range(1000000) a, range(1000000) b",
        )


def test_what_does_not_fit_in_memory_is_spilled_and_past_the_limit_refused(numbers, tmp_path):
    sql = "SELECT range AS r, hash(range) AS h, repeat('x', 20) || range AS t FROM range(800000) ORDER BY h"
    limits = OfflineLimits(memory_bytes_max=48 * 1024**2, scratch=tmp_path)
    assert len(run([numbers], limits, sql)["r"]) == 800_000
    with pytest.raises(OfflineQueryError):
        run([numbers], dataclasses.replace(limits, scratch_bytes_max=1024**2), sql.replace("800000", "8000000"))
    assert not list(tmp_path.glob("turnout-offline-*"))


def test_a_row_that_cannot_be_computed_is_the_sqls_fault(numbers, limits):
    with pytest.raises(FeatureSqlInvalidError):
        run([numbers], limits, "SELECT CAST(CASE WHEN n < 8 THEN '1' ELSE 'x' END AS INT) AS x FROM numbers")


def view(sql):
    return View(name="v", join_keys=("k",), sql=sql, features=(Feature(name="f"),))


def test_a_view_may_limit_its_scan_by_bound_times(numbers, limits):
    bound = "event_time > $since - INTERVAL 1 DAY AND event_time <= $until"
    sql = f"SELECT 1 AS k, event_time, n AS f FROM numbers WHERE {bound}"
    day_us = 86_400_000_000
    first_us = 1_356_998_400_000_000
    with open_offline([numbers], limits) as store:
        check_view(store, view(sql))
        for since_us, until_us, expected in [
            (None, None, range(9)),
            (None, first_us + 2 * day_us, range(3)),
            (first_us + 2 * day_us, first_us + 4 * day_us, [3, 4]),
            (first_us + 7 * day_us, 2**62, [8]),
        ]:
            rows, parameters = view_rows(store, view(sql), since_us=since_us, until_us=until_us)
            assert store.stream(rows, parameters).read_all().column("f0").to_pylist() == list(expected)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS k, TIMESTAMP '2013-01-01' AS event_time",
        "SELECT TIMESTAMP '2013-01-01' AS event_time, 1 AS f",
        "SELECT 1 AS k, 1 AS f",
        "SELECT 1 AS k, DATE '2013-01-01' AS event_time, 1 AS f",
        "SELECT 1 AS k, TIMESTAMP '2013-01-01' AS event_time, 1 AS created_time, 1 AS f",
        "SELECT 1 AS k, TIMESTAMP '2013-01-01' AS event_time, 'x' AS f",
        "SELECT 1 AS k, TIMESTAMP '2013-01-01' AS event_time, [1] AS f",
    ],
)
def test_a_view_whose_sql_gives_something_else_is_refused(limits, sql):
    with open_offline([], limits) as store, pytest.raises(FeatureSqlInvalidError):
        check_view(store, view(sql))


@pytest.mark.parametrize("kind", ["BOOLEAN", "TINYINT", "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL(9, 3)"])
@pytest.mark.parametrize("time", ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_NS", "TIMESTAMP_S"])
def test_any_number_and_any_timestamp_will_do(limits, kind, time):
    sql = f"SELECT 'a' AS k, '2013-01-01 00:00:00'::{time} AS event_time, 1::{kind} AS f"
    with open_offline([], limits) as store:
        check_view(store, view(sql))
        rows, parameters = view_rows(store, view(sql), since_us=None, until_us=None)
        [row] = store.stream(rows, parameters).read_all().to_pylist()
    assert (row["k0"], row["event_us"], row["f0"]) == ("a", 1_356_998_400_000_000, 1.0)
