"""What the door lets through is what the triggers take."""

from __future__ import annotations

import pytest

from trainer.records.settings import SETTINGS, Choice, Number
from trainer.triggers.catalogue import KINDS, trigger_of


def values(rule):
    """Return values that a rule allows."""
    if isinstance(rule, Choice):
        return rule.names
    return (int(max(rule.lowest, 1)) if rule.whole else 0.05,)


GIVEN = [
    (kind, name, value)
    for kind, settings in SETTINGS.items()
    for name, rule in settings.items()
    for value in values(rule)
]


@pytest.mark.parametrize(("kind", "name", "value"), GIVEN)
def test_every_setting_that_a_policy_may_hold_makes_a_trigger(kind, name, value):
    assert SETTINGS[kind][name].problem(value) == ""
    trigger_of(kind.value, {name: value})


def test_a_policy_may_hold_every_kind_that_looks_at_something():
    assert {kind.value for kind in SETTINGS} == KINDS.keys() - {"manual"}


def test_a_number_knows_its_range():
    assert Number(1, 3, whole=True).problem(2) == ""
    for value in (0, 4, 2.0, True, "2"):
        assert Number(1, 3, whole=True).problem(value)
