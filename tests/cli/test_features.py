"""Features on the command line, from their files to an online value, against a real gateway."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest

from features.codec import entity_key, key_prefix
from features.store import open_store

DEFINITION = """
[[source]]
name = "flights"
kind = "csv"
path = "flights.csv"
[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
ttl = "2d"
[[view.features]]
name = "delay"
default = -1.0
[[set]]
name = "delays"
features = ["carrier.delay"]
"""


@pytest.fixture
def definitions(tmp_path):
    (tmp_path / "features.toml").write_text(DEFINITION)
    (tmp_path / "carrier.sql").write_text("SELECT carrier, event_time::TIMESTAMP AS event_time, delay FROM flights")
    (tmp_path / "flights.csv").write_text(
        "carrier,event_time,delay\nUA,2013-01-01 00:00:00,5\nUA,2013-01-02 00:00:00,7\nAA,2013-01-09 00:00:00,9\n"
    )
    return tmp_path


def test_features_go_from_their_files_to_an_online_value(at_gateway, definitions):
    planned = at_gateway("features", "apply", definitions, "--dry-run", "--json").document
    assert planned["revision"] == 0
    assert at_gateway("features", "list", "--json").document == {"feature_views": [], "feature_sets": []}
    done = at_gateway("features", "apply", definitions, "--json").document
    assert {one["name"]: one["action"] for one in done["changes"]} == {
        "featureSources/flights": "create",
        "featureViews/carrier": "create",
        "featureSets/delays": "create",
    }
    assert "unchanged" in at_gateway("features", "apply", definitions).out

    written = at_gateway("features", "materialize", "carrier", "--until", "2013-01-03T00:00:00Z", "--json").document
    assert [(one["name"], one["entities_written"]) for one in written["views"]] == [("featureViews/carrier", 1)]
    (value,) = at_gateway("features", "read", "delays", "--entity", "carrier=AA", "--json").document["values"]
    assert value == {"feature": "carrier.delay", "value": -1, "status": "MISSING", "age_ms": None}
    (value,) = at_gateway("features", "read", "delays", "--entity", "carrier=UA", "--json").document["values"]
    assert value["status"] == "STALE"  # by the gateway's clock, which is not in 2013
    assert "carrier.delay" in at_gateway("features", "read", "delays", "--entity", "carrier=UA").out
    assert "2013-01-03" in at_gateway("features", "list").out

    (state,) = at_gateway("features", "status", "--json").document["views"]
    assert (state["name"], state["state"], state["entities_written"]) == ("featureViews/carrier", "IDLE", 1)
    assert "carrier" in at_gateway("features", "status").out
    assert "written" in at_gateway("features", "write", "carrier", "--entity", "carrier=DL", "--value", "delay=3").out
    (value,) = at_gateway("features", "read", "delays", "--entity", "carrier=DL", "--json").document["values"]
    assert (value["value"], value["status"]) == (3, "PRESENT")
    gone = at_gateway("features", "write", "carrier", "--entity", "carrier=DL", "--delete", "--json")
    assert gone.document["rows_written"] == 1
    again = at_gateway("features", "materialize", "--until", "2013-01-03T00:00:00Z", "--since", "2013-01-01", "--json")
    assert again.document["views"][0]["entities_written"] == 0

    as_of = ("--as-of", "2013-01-01T06:00:00Z")
    (value,) = at_gateway("features", "read", "delays", "--entity", "carrier=UA", *as_of, "--json").document["values"]
    assert (value["value"], value["status"], value["age_ms"]) == (5, "PRESENT", 21_600_000)

    (definitions / "labels.sql").write_text("SELECT *, delay > 6 AS label FROM flights ORDER BY event_time")
    out = definitions / "table.parquet"
    paths = ("--labels", definitions / "labels.sql", "--out", out)
    made = at_gateway("features", "training-data", "delays", *paths, "--marks", "--json").document
    assert (made["file"], made["rows"]) == (str(out), 3)
    assert re.fullmatch(r"table:[0-9a-f]{64} query:[0-9a-f]{32} as-of:\S+Z", made["fingerprint"])
    table = pq.read_table(out)
    assert table.column("carrier.delay").to_pylist() == [5, 7, 9]
    assert table.column("carrier@status").to_pylist() == ["PRESENT"] * 3
    fewer = at_gateway(
        "features", "training-data", "delays", *paths, "--start", "2013-01-02T00:00:00Z", "--json"
    ).document
    assert fewer["rows"] == 2


def test_a_set_that_is_not_there_is_refused(at_gateway):
    done = at_gateway("features", "read", "nothing", "--entity", "carrier=UA")
    assert done.code == 1
    assert "turnout features list" in done.err


def test_an_online_store_is_copied_into_another(turnout, at_gateway, definitions, gateway, tmp_path, monkeypatch):
    at_gateway("features", "apply", definitions)
    at_gateway("features", "write", "carrier", "--entity", "carrier=EV", "--value", "delay=4")
    source, target = f"lmdb://{gateway.state}/online", f"snapshot://{tmp_path}/copy"
    copied = turnout("features", "copy", source, target)
    assert copied.code == 0
    read, written = (int(word) for word in copied.out.split() if word.isdecimal())
    assert read == written > 0
    monkeypatch.setenv("COPY_TO", target)
    assert turnout("features", "copy", source, "env:COPY_TO").out == f"{read} read, 0 written\n"
    store = open_store(target, writable=False)
    assert store.get_many([entity_key(key_prefix("carrier", 1), "EV")]) != [None]
    store.close()
    refused = turnout("features", "copy", source, "memcached://user:secret@there")
    assert refused.code == 1
    assert "memcached" in refused.err
    assert "secret" not in refused.err
    assert turnout("features", "copy", source, "env:NOT_SET").code == 1
