import json

from gateway.telemetry.families import FAMILIES, OVERFLOWED, Kind
from gateway.telemetry.meter import Meter

CALLS = "turnout_calls_total"
QUEUE = "turnout_call_queue_seconds"


def test_a_value_on_a_bound_is_below_it():
    bounds = FAMILIES[QUEUE].bounds
    meter = Meter()
    series = meter.series(QUEUE)
    for value in (0, bounds[0], bounds[0] + 1, bounds[-1], bounds[-1] + 1):
        series.observe(value)
    assert series.counts[:2] == [2, 1]
    assert series.counts[-2:] == [1, 1]
    assert series.total == bounds[0] * 2 + 1 + bounds[-1] * 2 + 1


def test_label_sets_past_the_bound_are_counted_as_other_and_the_overflow_is_told():
    meter = Meter(3)
    for method in "abcdefg":
        meter.count(CALLS, (method, "OK"))
    assert {labels[0] for labels in meter.family(CALLS)} == {"a", "b", "c", "other"}
    assert meter.family(CALLS)["other", "other"].total == 4
    assert sum(series.total for series in meter.family(CALLS).values()) == 7
    assert meter.family(OVERFLOWED)[CALLS,].total == 4


def test_known_label_sets_go_on_being_counted_when_there_is_no_room_for_new_ones():
    meter = Meter(1)
    for method in "aba":
        meter.count(CALLS, (method, "OK"))
    assert meter.family(CALLS)["a", "OK"].total == 2


def test_a_report_holds_everything():
    meter = Meter()
    meter.count(CALLS, ("Predict", "OK"), 3)
    meter.series(QUEUE).observe(100, 5)
    age = meter.series("turnout_feature_age_seconds", ("carrier",))
    age.total, age.count = 12_000_000, 3
    meter.put("turnout_calls_in_flight", ("0",), 7)
    read = Meter.from_report(json.loads(json.dumps(meter.to_report())))
    assert read.to_report() == meter.to_report()
    assert read.series(QUEUE).counts == meter.series(QUEUE).counts


def test_a_sum_adds_counts_and_takes_the_greater_gauge():
    one, other = Meter(), Meter()
    for meter, count, oldest_s in ((one, 2, 5.0), (other, 3, 4.0)):
        meter.count(CALLS, ("Predict", "OK"), count)
        meter.series(QUEUE).observe(100, count)
        meter.put("turnout_feature_age_max_seconds", ("carrier",), oldest_s)
    total = Meter()
    total.merge(one)
    total.merge(other)
    assert total.family(CALLS)["Predict", "OK"].total == 5
    assert sum(total.series(QUEUE).counts) == 5
    assert total.family("turnout_feature_age_max_seconds")["carrier",].total == 5.0
    kept = Meter()
    kept.merge(one, lambda kind: kind is not Kind.GAUGE)
    assert not kept.family("turnout_feature_age_max_seconds")


def test_names_follow_prometheus_conventions():
    for name, family in FAMILIES.items():
        assert name.startswith("turnout_")
        assert name.endswith("_total") == (family.kind is Kind.COUNTER), name
        if family.kind is Kind.HISTOGRAM:
            assert list(family.bounds) == sorted(set(family.bounds))
            assert name.endswith("_seconds") == (family.unit != 1.0), name
