"""The example of prices: the same two features by SQL and by Python, both as pandas has them."""

import datetime as dt
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.code_folder import CodeFolder
from features.errors import CodeChangedError, CodeFailedError, CodeMissingError, OfflineQueryError
from features.grammar import read_definitions
from features.offline import OfflineLimits, open_offline
from features.view_rows import check_view, view_rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "prices"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("prices") / "prices"
    shutil.copytree(EXAMPLE, place)
    subprocess.run([sys.executable, place / "make_prices.py", place / "prices.csv"], check=True)
    return place


@pytest.fixture
def limits(folder, tmp_path):
    return OfflineLimits(memory_bytes_max=256 * 1024**2, scratch=tmp_path, code=CodeFolder(folder / "code"))


@pytest.fixture
def definitions(folder, limits):
    """Return what the example declares, with the digest of its code as the gateway records it."""
    files = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in {".toml", ".sql"}}
    found = read_definitions(files, str(folder))
    views = {
        view.name: replace(view, code_sha256=limits.code.digest(view.code)) if view.code else view
        for view in found.views
    }
    return found.sources, views


def by_pandas(folder):
    prices = pd.read_csv(folder / "prices.csv", parse_dates=["closed_at"]).sort_values(["symbol", "closed_at"])
    shares = prices.groupby("symbol")
    prices["price_sma_20"] = shares["close"].transform(lambda close: close.rolling(20).mean())
    prices["volume_zscore"] = shares["volume"].transform(
        lambda volume: (volume - volume.rolling(20).mean()) / volume.rolling(20).std()
    )
    return prices


def rows(view, sources, limits, *, since_us=None, until_us=None):
    with open_offline(sources, limits) as store:
        check_view(store, view)
        sql, parameters = view_rows(store, view, since_us=since_us, until_us=until_us)
        table = store.stream(f"SELECT * FROM ({sql}) ORDER BY k0, event_us", parameters).read_all()
    return table.to_pandas()


@pytest.mark.parametrize("name", ["share", "share-python"])
def test_the_features_are_those_of_pandas(folder, definitions, limits, name):
    sources, views = definitions
    found, expected = rows(views[name], sources, limits), by_pandas(folder)
    assert list(found.k0) == list(expected.symbol)
    assert list(pd.to_datetime(found.event_us, unit="us")) == list(expected.closed_at)
    np.testing.assert_allclose(found.f0, expected.price_sma_20, rtol=1e-12)
    np.testing.assert_allclose(found.f1, expected.volume_zscore, rtol=1e-9, atol=1e-9)
    assert found.f0.isna().sum() == 4 * 19


@pytest.mark.parametrize("name", ["share", "share-python"])
def test_a_part_of_the_time_is_a_part_of_the_whole(definitions, limits, name):
    sources, views = definitions
    since = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)
    until = dt.datetime(2024, 6, 28, tzinfo=dt.UTC)
    bounds = {"since_us": int(since.timestamp() * 1e6), "until_us": int(until.timestamp() * 1e6)}
    whole = rows(views[name], sources, limits)
    part = rows(views[name], sources, limits, **bounds)
    wanted = whole[(whole.event_us > bounds["since_us"]) & (whole.event_us <= bounds["until_us"])]
    pd.testing.assert_frame_equal(part, wanted.reset_index(drop=True), check_exact=False, rtol=1e-12)
    assert len(part) == 4 * 19


def computed(code, function, limits, sources, view):
    (code / "mine.py").write_text(function)
    folder = CodeFolder(code)
    mine = replace(view, code="mine:f", code_sha256=folder.digest("mine:f"))
    return rows(mine, sources, replace(limits, code=folder))


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("def f(prices): return 1", CodeFailedError, "not a pyarrow.Table"),
        ("def f(prices): raise ValueError('no luck')", CodeFailedError, "no luck"),
        ("def g(prices): return prices", CodeFailedError, "defines no function f"),
        ("from os import system as f", CodeFailedError, "defines no function f"),
        ("def f(prices): import os; os._exit(0)", CodeFailedError, "exit 0"),
        ("def f(prices): b = bytearray(9 * 1024**3); return prices", CodeFailedError, "MemoryError"),
        ("def f(prices):\n while True: pass", OfflineQueryError, "longer than"),
    ],
)
def test_code_that_does_not_do_is_an_error_with_its_reason(tmp_path, definitions, limits, function, error, said):
    sources, views = definitions
    code = tmp_path / "code"
    code.mkdir()
    with pytest.raises(error, match=said):
        computed(code, function, replace(limits, run_ms_max=8_000), sources, views["share-python"])


def test_code_that_changed_is_not_run_until_it_is_applied_again(tmp_path, definitions, limits):
    sources, views = definitions
    code = tmp_path / "code"
    shutil.copytree(EXAMPLE / "code", code)
    changed = replace(limits, code=CodeFolder(code))
    assert len(rows(views["share-python"], sources, changed)) == 4 * 252
    with (code / "share_features.py").open("a") as file:
        file.write("\n# another thought\n")
    with pytest.raises(CodeChangedError, match="apply the definitions again"):
        rows(views["share-python"], sources, changed)


@pytest.mark.parametrize("reference", ["os:system", "features.offline:quoted", "share_feature:share"])
def test_only_modules_of_the_operators_folder_are_known(folder, reference):
    with pytest.raises(CodeMissingError):
        CodeFolder(folder / "code").digest(reference)
    with pytest.raises(CodeMissingError, match="--feature-code"):
        CodeFolder().digest(reference)
