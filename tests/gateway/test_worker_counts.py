"""However many workers there are, on whichever host and however often started, a unit gets the same variant."""

from __future__ import annotations

from experiments.assignment import bucket_of

UNITS = [f"unit-{n}" for n in range(200)]
CONNECTIONS = 8


def test_1_and_4_workers_and_a_restart_give_the_same_assignments(launch, tmp_path, operator_of):
    def variants(gateway):
        found = {}
        # Each connection is taken by one of the workers; each asks for every unit.
        for _ in range(CONNECTIONS):
            operator = operator_of(gateway)
            for unit in UNITS:
                found.setdefault(unit, set()).add(operator.predict("m", unit_id=unit).variant)
            operator.close()
        return found

    seen = []
    for workers, folder in ((1, "one"), (4, "four"), (4, "four")):
        gateway = launch(tmp_path / folder, workers=workers)
        if len(seen) < 2:
            operator = operator_of(gateway)
            operator.publish("m", 2.0, alias="champion")
            operator.publish("m", 3.0)
            operator.start_experiment("m")
            operator.close()
        seen.append(variants(gateway))
        gateway.stop()
    expected = {unit: {"control" if bucket_of("v1-against-v2", unit) < 5000 else "treatment"} for unit in UNITS}
    assert seen == [expected] * 3
