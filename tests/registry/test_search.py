"""The filter language, and searches against a brute-force reading of the same trees."""

import contextlib
import operator
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import champion, models, versions
from registry.errors import FilterInvalidError
from registry.filter import All, Any, Comparison, Not, parse
from registry.records import VersionFacts
from registry.search import search_versions
from storage.database import open_database

WHO = {"actor": "ada", "now_us": 1_700_000_000_000_000}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """Return a database with 3 models of 8 versions each, and the versions."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('search') / 'turnout.db'}")
    stock(database)
    with database.read() as tx:
        yield database, search_versions(tx, limit_max=1000).versions
    database.close()


def stock(database, *, model_count=3, version_count=8):
    from registry.records import Signature, VersionDraft  # noqa: PLC0415

    with database.write() as tx:
        for m in range(model_count):
            name = f"model-{m}"
            models.create_model(tx, name, owner=("risk", "growth")[m % 2], actor="ada", now_us=m)
            for v in range(version_count):
                facts = VersionFacts(
                    algorithm=("forest", "boosting", "linear")[v % 3],
                    metrics={"auc": 0.5 + ((m * 31 + v * 17) % 50) / 100} if v % 4 else {},
                    parameters={"depth": str(v)},
                    tags={"team": ("risk", "growth")[v % 2], **({"odd name": "yes"} if v == 3 else {})},
                    data_fingerprint=f"data-{v % 2}",
                    parents=(v,) if v else (),
                )
                draft = VersionDraft(name, f"{m * 1000 + v:064x}", v * 10, Signature((), ()), facts)
                versions.add_version(tx, draft, actor=("ada", "bob")[v % 2], now_us=1_700_000_000_000_000 + m * 100 + v)
            champion.promote(tx, name, 2, **WHO)


def auc(version):
    return version.facts.metrics.get("auc", -1)


def keys(found):
    return [(each.model, each.number) for each in found]


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('model = "model-1"', lambda v: v.model == "model-1"),
        ("model = model-1 version >= 5", lambda v: v.model == "model-1" and v.number >= 5),
        ("metrics.auc >= 0.8", lambda v: auc(v) >= 0.8),
        ('metrics.auc >= 0.6 AND tags.team = "risk"', lambda v: auc(v) >= 0.6 and v.tags["team"] == "risk"),
        ("NOT metrics.auc:*", lambda v: "auc" not in v.facts.metrics),
        ("-algorithm = forest", lambda v: v.facts.algorithm != "forest"),
        ("algorithm:oost", lambda v: v.facts.algorithm == "boosting"),
        ('tags."odd name" = yes', lambda v: v.tags.get("odd name") == "yes"),
        ("parameters.depth != 3", lambda v: v.facts.parameters["depth"] != "3"),
        ("stage = production", lambda v: v.number == 2),
        ("alias = champion", lambda v: v.number == 2),
        ("alias != champion", lambda v: v.number != 2),
        ("owner = growth", lambda v: v.model == "model-1"),
        ("created_by = bob", lambda v: v.created_by == "bob"),
        ('create_time > "2023-11-14T22:13:20.000150Z"', lambda v: v.created_us > 1_700_000_000_000_150),
        ("create_time < 2023-11-14", lambda _: False),
        ("data_fingerprint = data-1 artifact_bytes <= 30", lambda v: v.number % 2 == 0 and v.artifact_bytes <= 30),
        ("descendant_of = models/model-0/versions/6", lambda v: v.model == "model-0" and v.number > 6),
        ("ancestor_of = models/model-0/versions/3", lambda v: v.model == "model-0" and v.number < 3),
        # OR binds tighter than AND.
        ("version = 1 OR version = 2 AND model = model-0", lambda v: v.number in (1, 2) and v.model == "model-0"),
        ("(version = 1 AND model = model-0) OR version = 8", lambda v: v.number == 8 or keys([v]) == [("model-0", 1)]),
        ("description:'); DROP TABLE versions; --'", None),
    ],
)  # fmt: skip
def test_a_filter_finds_what_it_says(stocked, text, passes):
    database, everything = stocked
    with database.read() as tx:
        if passes is None:
            with pytest.raises(FilterInvalidError):
                search_versions(tx, filter_text=text, limit_max=100)
            return
        found = search_versions(tx, filter_text=text, limit_max=1000).versions
    assert keys(found) == [key for key, each in zip(keys(everything), everything, strict=True) if passes(each)]


@pytest.mark.parametrize(
    "text",
    [
        "model",
        "model =",
        "= x",
        "model = a AND",
        "model = a OR",
        "NOT",
        "(model = a",
        "model = a)",
        "nonsense = 1",
        "tags = x",
        "model.x = y",
        "metrics.auc > high",
        "version = nan",
        "version = 99999999999999999999999",
        "stage = famous",
        "alias < a",
        "create_time > yesterday",
        "ancestor_of = models/a",
        'ancestor_of = "models/a/versions/x"',
        'model = "open',
        "a" * 5000,
        " AND ".join(["version = 1"] * 65),
        "(" * 20 + "version = 1" + ")" * 20,
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused_with_where_and_why(stocked, text):
    database, _ = stocked
    with database.read() as tx, pytest.raises(FilterInvalidError) as refused:
        search_versions(tx, filter_text=text, limit_max=10)
    assert refused.value.facts


@settings(max_examples=200)
@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(FilterInvalidError):
        parse(text)


COMPARISONS = st.builds(
    lambda sign, value: Comparison("version", "", sign, str(value)),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    st.integers(0, 9),
)
TREES = st.recursive(
    COMPARISONS,
    lambda inside: st.one_of(
        st.builds(Not, inside),
        st.builds(lambda parts: All(tuple(parts)), st.lists(inside, min_size=2, max_size=3)),
        st.builds(lambda parts: Any(tuple(parts)), st.lists(inside, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)
SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def written(tree):
    match tree:
        case Comparison():
            return f"{tree.field} {tree.operator} {tree.value}"
        case Not(inside):
            return f"NOT ({written(inside)})"
        case All(parts):
            return "(" + " AND ".join(f"({written(part)})" for part in parts) + ")"
        case Any(parts):
            return "(" + " OR ".join(f"({written(part)})" for part in parts) + ")"


def holds(tree, number):
    match tree:
        case Comparison():
            return SIGNS[tree.operator](number, int(tree.value))
        case Not(inside):
            return not holds(inside, number)
        case All(parts):
            return all(holds(part, number) for part in parts)
        case Any(parts):
            return any(holds(part, number) for part in parts)


@settings(max_examples=100, deadline=None)
@given(tree=TREES)
def test_and_or_and_not_mean_what_they_say(stocked, tree):
    database, everything = stocked
    with database.read() as tx:
        found = search_versions(tx, filter_text=written(tree), limit_max=1000).versions
    assert keys(found) == [(each.model, each.number) for each in everything if holds(tree, each.number)]


@pytest.mark.parametrize("order", ["", "create_time desc", "version", "metrics.auc desc", "metrics.auc", "model desc"])
def test_pages_put_together_are_the_whole_in_order(stocked, order):
    database, everything = stocked
    paged, token = [], ""
    with database.read() as tx:
        while True:
            page = search_versions(tx, order_by=order, token=token, limit_max=5)
            paged += page.versions
            token = page.next_token
            if not token:
                break
        whole = search_versions(tx, order_by=order, limit_max=1000).versions
    assert keys(paged) == keys(whole)
    assert sorted(keys(paged)) == keys(everything)
    if order.startswith("metrics.auc"):
        values = [each.facts.metrics.get("auc") for each in paged]
        known = [value for value in values if value is not None]
        assert known == sorted(known, reverse=order.endswith("desc"))
        assert values == known + [None] * (len(values) - len(known))  # those without one come last


def test_a_token_of_another_search_is_refused(stocked):
    database, _ = stocked
    with database.read() as tx:
        token = search_versions(tx, limit_max=2).next_token
        for request in (
            {"filter_text": "version = 1", "token": token},
            {"order_by": "version", "token": token},
            {"token": "bm90IG9uZQ=="},
            {"order_by": "price"},
            {"order_by": "version sideways"},
        ):
            with pytest.raises(FilterInvalidError):
                search_versions(tx, limit_max=2, **request)


def test_both_databases_find_the_same(database_url):
    database = open_database(database_url)
    stock(database)
    with database.read() as tx:
        found = search_versions(
            tx, filter_text="metrics.auc >= 0.6 tags.team = risk", order_by="metrics.auc desc", limit_max=99
        )
        line = search_versions(tx, filter_text="descendant_of = models/model-0/versions/6", limit_max=99)
    database.close()
    assert [each.facts.metrics["auc"] for each in found.versions] == sorted(
        (each.facts.metrics["auc"] for each in found.versions), reverse=True
    )
    assert keys(line.versions) == [("model-0", 7), ("model-0", 8)]


@pytest.mark.soak
def test_a_hundred_thousand_versions_are_searched_in_milliseconds(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'turnout.db'}")
    stock(database, model_count=1000, version_count=100)
    for text, order in (
        ("metrics.auc >= 0.98 AND tags.team = risk", "create_time desc"),
        ("model = model-500", ""),
        ("alias = champion AND metrics.auc > 0.9", "metrics.auc desc"),
        ("parameters.depth = 42 algorithm = forest", ""),
        ("descendant_of = models/model-7/versions/3", ""),
        ('create_time >= "2023-11-14T22:13:20Z"', "create_time desc"),
    ):
        with database.read() as tx:
            times = []
            for _ in range(5):
                began = time.perf_counter()
                found = search_versions(tx, filter_text=text, order_by=order, limit_max=100)
                times.append(time.perf_counter() - began)
        print(f"{min(times) * 1000:7.1f} ms  {len(found.versions):3} versions  {text}  [{order}]")  # noqa: T201
    database.close()
