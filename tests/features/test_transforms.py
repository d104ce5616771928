"""On-request transforms: one value in a wave, in a training table, in a graph, and by an oracle of single numbers."""

import datetime as dt
import math

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from features.definitions import BoundView, Feature, FeatureSet, Source, View
from features.errors import DefinitionInvalidError
from features.expression import Applied, Constant, kind_of
from features.expression_text import DEPTH_MAX, EXPRESSION_CHARS_MAX, parse
from features.grammar import read_definitions
from features.kernels import Kernels
from features.offline import OfflineLimits
from features.plan import compile_plan, plan_document
from features.training import training_table
from features.transforms import Transform
from trainer.transform_graph import RAW_INPUT, with_transforms

OPERANDS = ("request.a", "request.b", "some-view.c", "some-view.d")
SPECIAL = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308, 3.4028236e38, 1 / 3, 2**53 + 1.0)
INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
COMPARING = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}

numbers = st.sampled_from(SPECIAL) | st.floats()
LITERALS = ("0", "1", "2.5", "1e-3", "1e300", "0.1", "16777217")


def number(draw, depth):  # noqa: PLR0911  (one return a kind)
    """Return the text of a random expression that gives a number."""
    kind = draw(st.integers(0, 7)) if depth else draw(st.integers(0, 1))
    if kind == 0:
        return draw(st.sampled_from(LITERALS))
    if kind == 1:
        return draw(st.sampled_from(OPERANDS))
    depth -= 1
    if kind == 2:
        return f"(-{number(draw, depth)})"
    if kind == 3:
        name = draw(st.sampled_from(["abs", "floor", "ceil", "sqrt", "float32"]))
        return f"{name}({number(draw, depth)})"
    if kind == 4:
        name, count = draw(st.sampled_from([("min", 2), ("max", 3), ("coalesce", 2), ("coalesce", 3), ("clip", 3)]))
        return f"{name}({', '.join(number(draw, depth) for _ in range(count))})"
    if kind == 5:
        return f"if({truth(draw, depth)}, {number(draw, depth)}, {number(draw, depth)})"
    return f"({number(draw, depth)} {draw(st.sampled_from(sorted(INFIX.values())))} {number(draw, depth)})"


def truth(draw, depth):
    """Return the text of a random expression that gives a truth value."""
    kind = draw(st.integers(0, 3)) if depth else 0
    depth = max(0, depth - 1)
    if kind == 1:
        return f"is_missing({number(draw, depth)})"
    if kind == 2:
        return f"not ({truth(draw, depth)})"
    if kind == 3:
        return f"({truth(draw, depth)} {draw(st.sampled_from(['and', 'or']))} {truth(draw, depth)})"
    return f"{number(draw, depth)} {draw(st.sampled_from(sorted(COMPARING.values())))} {number(draw, depth)}"


@st.composite
def texts(draw):
    return of_an_operand(number(draw, draw(st.integers(1, 4))))


def of_an_operand(text):
    return f"({text}) + 0 * request.a" if not any(name in text for name in OPERANDS) else text


transforms_drawn = st.lists(st.tuples(texts(), st.sampled_from(["float64", "float32"])), min_size=1, max_size=6).map(
    lambda drawn: tuple(Transform(name=f"t{at}", expression=text, type=kind) for at, (text, kind) in enumerate(drawn))
)
rows_drawn = st.lists(st.tuples(*[numbers] * len(OPERANDS)), min_size=1, max_size=20).map(np.array)


def set_of(transforms, features=None):
    return FeatureSet(
        name="s",
        features=features or tuple(transform.column for transform in transforms),
        view_digests=(),
        transforms=transforms,
    )


def filled(feature_set, raw):
    """Return the rows of a set whose raw columns are given in the order of OPERANDS."""
    rows = np.full((len(raw), len(feature_set.columns)), 7.0)
    for at, name in enumerate(feature_set.columns):
        if name in OPERANDS:
            rows[:, at] = raw[:, OPERANDS.index(name)]
    Kernels(feature_set.transforms, feature_set.columns).fill(rows)
    return rows


def identity(columns, dtype=TensorProto.DOUBLE):
    ports = [helper.make_tensor_value_info(name, dtype, [None, columns]) for name in ("features", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["features"], ["out"])], "g", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def by_graph(content, raw):
    return onnxruntime.InferenceSession(content).run(None, {RAW_INPUT: raw})[0]


def scalar(tree, row):  # noqa: C901, PLR0911, PLR0912  (one case an operation)
    """Return the value by numbers of Python alone."""
    if isinstance(tree, Constant):
        return tree.value
    if not isinstance(tree, Applied):
        return row[OPERANDS.index(tree.name)]
    name = tree.operation
    args = [scalar(argument, row) for argument in tree.arguments]
    one, other = args[0], args[-1]
    match name:
        case "add":
            return one + other
        case "subtract":
            return one - other
        case "multiply":
            return one * other
        case "divide" if other == 0:
            return math.nan if one == 0 or math.isnan(one) else math.copysign(math.inf, one) * math.copysign(1, other)
        case "divide":
            return one / other
        case "negate":
            return -one
        case "less":
            return one < other
        case "less_equal":
            return one <= other
        case "greater":
            return one > other
        case "greater_equal":
            return one >= other
        case "equal":
            return one == other
        case "not_equal":
            return one != other
        case "and":
            return one and other
        case "or":
            return one or other
        case "not":
            return not one
        case "if":
            return (args[1] if one else args[2]) + 0.0
        case "is_missing":
            return math.isnan(one)
        case "coalesce":
            return next((each for each in args if not math.isnan(each)), math.nan) + 0.0
        case "min" | "max":
            return math.nan if any(map(math.isnan, args)) else (min if name == "min" else max)(args) + 0.0
        case "clip":
            return math.nan if any(map(math.isnan, args)) else min(max(args[0], args[1]), args[2]) + 0.0
        case "abs":
            return abs(one)
        case "sqrt":
            return math.sqrt(one) if one >= 0 else math.nan
        case "floor" | "ceil":
            return one if not math.isfinite(one) else math.copysign(float(getattr(math, name)(one)), one)
        case "float32":
            return float(np.float32(one))
    raise AssertionError(name)


def same(left, right):
    """Return whether two arrays are equal to the bit; all NaN are one."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return left.shape == right.shape and bool(
        ((left.view(np.int64) == right.view(np.int64)) | (np.isnan(left) & np.isnan(right))).all()
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(transforms_drawn, rows_drawn)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_the_graph_and_numbers_of_python_give_what_the_wave_gives(transforms, raw):
    feature_set = set_of(transforms)
    rows = filled(feature_set, raw)
    for at, transform in enumerate(transforms):
        expected = [scalar(transform.tree, row) for row in raw.tolist()]
        if transform.type == "float32":
            expected = np.array(expected, np.float64).astype(np.float32).astype(np.float64)
        assert same(rows[:, at].copy(), expected), transform
    names = feature_set.raw.features
    content = with_transforms(
        identity(len(transforms)), "features", features=feature_set.features, raw=names, transforms=transforms
    )
    given_raw = np.ascontiguousarray(raw[:, [OPERANDS.index(name) for name in names]])
    assert same(by_graph(content, given_raw), np.ascontiguousarray(rows[:, : len(transforms)]))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(transforms_drawn, st.lists(st.tuples(*[st.none() | numbers] * len(OPERANDS)), min_size=1, max_size=20))
def test_the_training_table_gives_what_the_wave_gives(tmp_path_factory, transforms, drawn):
    folder = tmp_path_factory.mktemp("labels")
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)
    stored = pa.table(
        {
            "k": [str(at) for at in range(len(drawn))],
            "event_time": pa.array([now] * len(drawn), pa.timestamp("us")),
            "c": pa.array([row[2] for row in drawn], pa.float64()),
            "d": pa.array([row[3] for row in drawn], pa.float64()),
        }
    )
    asked = {name: pa.array([row[at] for row in drawn], pa.float64()) for at, name in enumerate("ab")}
    asked |= {"k": stored["k"], "event_time": stored["event_time"], "label": pa.nulls(len(drawn), pa.float64())}
    for name, table in (("stored", stored), ("asked", pa.table(asked))):
        pq.write_table(table, folder / f"{name}.parquet")
    view = View(
        name="some-view",
        join_keys=("k",),
        sql="SELECT k, event_time, c, d FROM stored",
        features=(Feature(name="c", default=0.5), Feature(name="d")),
    )
    feature_set = set_of(transforms)
    views = [view] if any(name.startswith("some-view.") for name in feature_set.columns) else []
    with training_table(
        feature_set,
        views,
        sources=[
            Source(name=name, kind="parquet", path=str(folder / f"{name}.parquet")) for name in ("stored", "asked")
        ],
        label_sql="SELECT * FROM asked",
        start_us=None,
        end_us=None,
        limits=OfflineLimits(),
    ) as batches:
        table = batches.read_all().to_pandas().sort_values("k", key=lambda keys: keys.astype(int))
    defaults = (math.nan, math.nan, 0.5, math.nan)
    raw = np.array(
        [[default if value is None else value for value, default in zip(row, defaults, strict=True)] for row in drawn]
    )
    rows = filled(feature_set, raw)
    for at, name in enumerate(feature_set.columns):
        assert same(table[name].to_numpy().copy(), rows[:, at].copy()), name


@pytest.mark.parametrize("name", ["log", "exp"])
def test_logarithms_agree_to_a_few_units_in_the_last_place_in_a_graph_and_to_the_bit_elsewhere(name):
    transform = Transform(name="t", expression=f"{name}(request.a)")
    raw = np.array([*SPECIAL, *np.random.default_rng(5).lognormal(0, 3, 500), *np.linspace(-700, 700, 400)])[:, None]
    feature_set = set_of((transform,))
    rows = filled(feature_set, np.repeat(raw, 4, axis=1))
    each = [filled(feature_set, np.repeat(row[None], 4, axis=1))[0, 0] for row in raw]
    assert same(rows[:, 0].copy(), each)
    content = with_transforms(
        identity(1), "features", features=feature_set.features, raw=("request.a",), transforms=(transform,)
    )
    found = by_graph(content, raw)[:, 0]
    np.testing.assert_array_max_ulp(found[np.isfinite(found)], rows[np.isfinite(found), 0], 4)
    assert same(found[~np.isfinite(found)], rows[~np.isfinite(found), 0].copy())


def test_a_graph_of_float32_is_given_what_is_rounded_after_it_was_computed():
    transforms = (
        Transform(name="gap", expression="request.a - request.b"),
        Transform(name="wide", expression="transform.gap > 0", type="bool"),
    )
    feature_set = set_of(transforms, ("request.b", "transform.wide", "request.a"))
    raw = np.array([[16777217.0, 16777216.0], [3.0, 4.0]])
    content = with_transforms(
        identity(3, TensorProto.FLOAT),
        "features",
        features=feature_set.features,
        raw=feature_set.raw.features,
        transforms=transforms,
    )
    assert feature_set.raw.features == ("request.b", "request.a")
    assert by_graph(content, raw[:, ::-1].copy()).tolist() == [[16777216.0, 1.0, 16777216.0], [4.0, 0.0, 3.0]]
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1 + request.a * 2", "add(1.0, multiply(request.a, 2.0))"),
        ("a-b.c-d.e", "subtract(a-b.c, d.e)"),
        ("a.b-c.d", "subtract(a.b, c.d)"),
        ("- a.b / -2", "divide(negate(a.b), negate(2.0))"),
        ("if(not a.b < 1 and c.d==2 or e.f >= .5, 1, 0)", None),
        ("if(((a.b)) != 1e3, min(1, 2, a.b), clip(a.b, 0, 1))", None),
        ("a.b - c.d - e.f", "subtract(subtract(a.b, c.d), e.f)"),
    ],
)
def test_text_is_read_as_it_looks(text, tree):
    found = parse(text)
    assert tree is None or str(found) == tree
    assert parse(" \n" + text.replace("(", "( ") + "\t") == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "a",
        "a.b.c",
        "__import__('os')",
        "a.b[0]",
        "lambda: 1",
        "a.b; c.d",
        "exp(1, 2)",
        "min(1)",
        "if(a.b, 1, 0)",
        "a.b < c.d < e.f",
        "not a.b",
        "(a.b < 1) + 1",
        "a.b ** 2",
        "1e999",
        "a.b = 1",
        "exec(a.b)",
        "é.b",
        "1\u0660",
        "a.b\x00",
        "(" * (DEPTH_MAX + 1) + "1" + ")" * (DEPTH_MAX + 1),
        "-" * 500 + "1",
        "+".join(["1"] * 300),
        "1" + " " * EXPRESSION_CHARS_MAX,
        "abs(" * 100,
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text):
    with pytest.raises(DefinitionInvalidError, match=r"expression"):
        parse(text)


def test_as_deep_and_as_long_as_allowed_works():
    for text in ("(" * (DEPTH_MAX - 1) + "request.a" + ")" * (DEPTH_MAX - 1), "+".join(["request.a"] * 200)):
        transform = Transform(name="t", expression=text)
        assert filled(set_of((transform,)), np.full((3, 4), 0.5))[0, 0] in {0.5, 100.0}
        assert kind_of(transform.tree) == "number"
        assert hash(str(transform.tree))


SET = """
[[source]]
name = "prices"
kind = "csv"
path = "p.csv"
[[view]]
name = "share"
join_keys = ["symbol"]
sql = "share.sql"
[[view.features]]
name = "mean"
default = 1.0
[[set]]
name = "s"
features = ["transform.gap"]
[[set.transform]]
name = "gap"
expression = "request.price / share.mean"
"""


def declared(text):
    return read_definitions({"s.toml": text, "share.sql": "SELECT 1"}, "/data")


def test_a_set_reads_what_only_its_transforms_take():
    found = declared(SET)
    [wish] = found.sets
    assert wish.looked_up == ("request.price", "share.mean")
    assert wish.views == ("share",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"transform.gap"]', '"transform.gab"]', "declares no 'transform.gab'"),
        ('"transform.gap"]', '"share.mean"]', "nothing takes 'transform.gap'"),
        ('"request.price / share.mean"', '"2"', "takes no feature"),
        ('"request.price / share.mean"', '"transform.gap + 1"', "not declared before it"),
        ('"request.price / share.mean"', '"request.price / "', "ends where a value is expected"),
        ('"request.price / share.mean"', '"request.price < 1"', "no float64"),
        ('name = "gap"', 'name = "g p"', "not a name for a column"),
        ('name = "gap"', 'name = "gap"\ntype = "int8"', "type is one of"),
        ('name = "share"', 'name = "transform"', "no view is named 'transform'"),
    ],
)
def test_a_transform_that_does_not_fit_its_set_is_refused(old, new, said):
    with pytest.raises(DefinitionInvalidError, match=said):
        declared(SET.replace(old, new))


def test_what_a_transform_means_is_part_of_the_digest_and_how_it_is_written_is_not():
    def digest(text, kind="float64"):
        return set_of((Transform(name="t", expression=text, type=kind, description=text),)).digest

    assert digest("request.a+ 1") == digest("(request.a + 1.0)")
    assert len({digest("request.a + 1"), digest("request.a + 2"), digest("request.a + 1", "float32")}) == 3
    plain = FeatureSet(name="s", features=("request.a",), view_digests=())
    assert plain.raw.digest == plain.digest
    assert plain.digest == "702de6e53a6c5b8ca399e650e03b40a7938215532aa35564e43760a23991d98f"


def test_a_set_without_transforms_has_no_kernels():
    view = BoundView(view=View(name="v", join_keys=("k",), sql="", features=(Feature(name="f"),)), schema_id=1)
    plan = compile_plan(
        plan_document(FeatureSet(name="s", features=("v.f",), view_digests=(("v", view.view.digest),)), [view])
    )
    assert plan.kernels is None
    assert plan.width == 1
