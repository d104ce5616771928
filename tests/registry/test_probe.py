import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from registry.errors import ProbeInvalidError
from registry.probe import Probe, decode, disagreement

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


def same(left, right):
    assert set(left) == set(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@settings(max_examples=30)
@given(
    data=st.data(),
    rows=st.integers(1, 5),
    tolerance=st.floats(0, 1),
    names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=2, max_size=3, unique=True),
)
def test_probes_come_back_as_they_were(data, rows, tolerance, names):
    dtypes = st.sampled_from(["float32", "float64", "int64", "bool", "uint8", "float16"])
    arrays = {
        name: data.draw(npst.arrays(data.draw(dtypes), st.tuples(st.just(rows), st.integers(0, 3)))) for name in names
    }
    arrays["words"] = np.array(data.draw(st.lists(TEXT, min_size=rows, max_size=rows)), dtype=object)
    probe = Probe(arrays, arrays, tolerance)
    found = decode(probe.encode())
    same(found.inputs, arrays)
    same(found.outputs, arrays)
    assert found.tolerance == tolerance
    assert found.rows == rows


@given(npst.arrays("float64", (3, 2)))
def test_what_is_equal_agrees(array):
    assert disagreement({"y": array}, {"y": array.copy()}, 0.0) is None


@pytest.mark.parametrize(
    ("got", "agrees"),
    [([1.0, 100.0], True), ([1.0001, 100.01], True), ([1.0003, 100.0], False), ([1.0, 100.02], False)],
)
def test_floats_agree_within_the_tolerance(got, agrees):
    expected = {"y": np.array([1.0, 100.0], dtype=np.float32)}
    problem = disagreement(expected, {"y": np.array(got, dtype=np.float32)}, 1e-4)
    assert (problem is None) == agrees


def test_a_label_must_be_equal_whatever_the_tolerance():
    problem = disagreement({"label": np.array([1, 2, 3])}, {"label": np.array([1, 3, 3])}, 10.0)
    assert "differs in 1 of 3 rows; at [1] it is 3, expected was 2" in problem


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_agrees_with_itself_only(value):
    array = np.array([value])
    assert disagreement({"y": array}, {"y": array}, 1e-4) is None
    assert disagreement({"y": array}, {"y": np.array([1.0])}, 1e-4) is not None


def test_text_is_compared_and_kept():
    words = np.array(["oui", "non"], dtype=object)
    assert disagreement({"y": words}, {"y": np.array(["oui", "si"], dtype=object)}, 1.0) is not None
    same(decode(Probe({"x": words}, {"y": words}).encode()).inputs, {"x": words})


@pytest.mark.parametrize(
    "got", [{}, {"y": np.zeros((2, 2))}, {"y": np.zeros((3, 1), dtype=np.int64)}], ids=["absent", "shape", "type"]
)
def test_outputs_of_another_kind_disagree(got):
    assert disagreement({"y": np.zeros((3, 1))}, got, 1e-4) is not None


@pytest.mark.parametrize(
    "probe",
    [
        Probe({}, {"y": np.zeros(1)}),
        Probe({"x": np.zeros(1)}, {}),
        Probe({"x": np.zeros(0)}, {"y": np.zeros(0)}),
        Probe({"x": np.zeros(1025)}, {"y": np.zeros(1025)}),
        Probe({"x": np.zeros(2), "z": np.zeros(3)}, {"y": np.zeros(2)}),
        Probe({"x": np.array(1.0)}, {"y": np.zeros(1)}),
        Probe({"x": np.zeros(1)}, {"y": np.zeros(1)}, float("nan")),
    ],
)
def test_a_probe_that_proves_nothing_is_refused(probe):
    with pytest.raises(ProbeInvalidError):
        probe.checked()


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_probe_is_refused(data):
    with pytest.raises(ProbeInvalidError):
        decode(data)


def test_objects_are_never_stored():
    with pytest.raises(ProbeInvalidError):
        Probe({"x": np.array([{}], dtype=object)}, {"y": np.zeros(1)}).encode()
