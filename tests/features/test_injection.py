"""Hostile text in every field of a definition and in every entity key: refused, or only text."""

import dataclasses
import json
import tomllib

import duckdb
import pytest

from features.definitions import BoundView, FeatureSet
from features.errors import (
    DefinitionInvalidError,
    FeatureRowInvalidError,
    FeatureSqlInvalidError,
    SourceUnreadableError,
)
from features.fetch import fetch
from features.grammar import read_definitions
from features.lookup import Lookup
from features.materialize import materialize
from features.offline import open_offline
from features.plan import compile_plan, plan_document
from features.push import Row, check_rows, write_rows
from features.view_rows import check_view

NOW_US = 1_704_153_600_000_000
PAYLOADS = [
    "'; COPY (SELECT 1) TO '{pwned}'; --",
    "\"; COPY (SELECT 1) TO '{pwned}'; --",
    "x') UNION ALL SELECT * FROM read_text('/etc/passwd') --",
    "$(touch {pwned})",
    "`touch {pwned}`",
    "../../../../etc/passwd",
    "os:system",
    "{{0.__class__}}",
    "%s%n$1",
    "a\nb\tc",
    "\u202e\u0000",
    "ключ🔑",
    "*",
    "",
    "a" * 3000,
]
DEFINITION = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"
null_text = "NA"

[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
ttl = "2d"
refresh = "1h"
description = "A driver."
[[view.features]]
name = "trips"
default = 1.0
description = "How many."

[[set]]
name = "ride"
features = ["request.hour", "driver.trips"]
description = "A ride."
[[set.request]]
name = "hour"
default = 12.0
"""
SQL = "SELECT driver, moment AS event_time, trips FROM rides"
FREE = {("source", "path"), ("source", "null_text"), ("view", "description"), ("set", "description")}


def set_of(found):
    [wish] = found.sets
    return FeatureSet(
        name=wish.name,
        features=wish.features,
        view_digests=(("driver", found.views[0].digest),),
        requests=wish.requests,
    )


def read(store, plan, key):
    [matrix] = fetch(store, [Lookup(plan, [{"driver": key}])], NOW_US)
    return float(matrix.values[0, 1])


def fields():
    """Return the path to each text of the definition."""
    document = tomllib.loads(DEFINITION)
    found = []
    for kind, [table] in document.items():
        for name, value in table.items():
            if isinstance(value, str):
                found.append((kind, name))
            elif isinstance(value[0], str):
                found += [(kind, name, place) for place in range(len(value))]
            else:
                found += [(kind, name, 0, inner) for inner, text in value[0].items() if isinstance(text, str)]
    return [*found, ("view", "python"), ("source", "table"), ("set", "refuse", 0), ("set", "stale_up_to")]


def written(table, kind):
    """Return a table as TOML; what JSON says of texts, numbers and lists TOML says too."""
    inner = {name: value for name, value in table.items() if isinstance(value, list) and isinstance(value[0], dict)}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items() if name not in inner]
    lines += [f"[[{kind}.{name}]]\n{written(value[0], kind)}" for name, value in inner.items()]
    return "\n".join(lines)


def poisoned(path, text):
    """Return the definition with one text replaced, as TOML."""
    document = tomllib.loads(DEFINITION)
    place = document[path[0]][0]
    for step in path[1:-1]:
        place = place.setdefault(step, [""]) if isinstance(place, dict) else place[step]
    place[path[-1]] = text
    return "\n".join(f"[[{kind}]]\n{written(table, kind)}" for kind, [table] in document.items())


@pytest.fixture
def folder(tmp_path):
    duckdb.sql(
        "COPY (SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, i AS trips FROM range(3) t(i)) "
        f"TO '{tmp_path / 'rides.parquet'}' (FORMAT parquet)"
    )
    return tmp_path


@pytest.mark.parametrize("path", fields(), ids=lambda path: ".".join(map(str, path)))
def test_no_text_of_a_definition_is_more_than_text(path, folder, limits):
    pwned = folder / "pwned"
    for payload in PAYLOADS:
        text = payload.replace("{pwned}", str(pwned))
        files = {"ride.toml": poisoned(path, text), "driver.sql": SQL}
        try:
            found = read_definitions(files, str(folder))
        except DefinitionInvalidError:
            continue
        assert (path[0], path[1]) in FREE or path[-1] == "description" or text == "", f"{path} takes {text!r}"
        try:
            with open_offline(found.sources, limits) as store:
                check_view(store, found.views[0])
                rows = store.stream(f"SELECT * FROM ({found.views[0].sql}) ORDER BY driver", {}).read_all()
        except (SourceUnreadableError, FeatureSqlInvalidError):
            assert path[:2] == ("source", "path")
            continue
        assert rows.column("driver").to_pylist() == ["d0", "d1", "d2"]
    assert not pwned.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_sql_of_a_view_reaches_nothing_beside_the_sources(payload, folder, limits):
    pwned = folder / "pwned"
    files = {"ride.toml": DEFINITION, "driver.sql": payload.replace("{pwned}", str(pwned))}
    found = read_definitions(files, str(folder))
    with open_offline(found.sources, limits) as store, pytest.raises(FeatureSqlInvalidError):
        check_view(store, found.views[0])
    assert not pwned.exists()


def test_entity_keys_are_only_keys(folder, limits, store):
    pwned = folder / "pwned"
    found = read_definitions({"ride.toml": DEFINITION, "driver.sql": SQL}, str(folder))
    bound = BoundView(view=dataclasses.replace(found.views[0], ttl_us=0), schema_id=1)
    materialize(store, bound, sources=found.sources, until_us=NOW_US, now_us=NOW_US, limits=limits)
    keys = [payload.replace("{pwned}", str(pwned)) for payload in PAYLOADS]
    taken = []
    for number, key in enumerate(keys):
        row = Row(entities={"driver": key}, values={"trips": 100.0 + number}, event_us=NOW_US - 1)
        try:
            check_rows(bound.view, [row], NOW_US)
        except FeatureRowInvalidError:
            continue
        write_rows(store, bound, [row], NOW_US)
        taken.append((key, 100.0 + number))
    assert len(taken) > len(PAYLOADS) - 4
    plan = compile_plan(plan_document(set_of(found), [bound]))
    for key, value in [*taken, ("d1", 1.0), ("d2", 2.0)]:
        assert read(store, plan, key) == value, key
    assert not pwned.exists()
