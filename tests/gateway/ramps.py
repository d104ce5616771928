"""Real graphs with faults in them, and traffic for ramps."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from experiments.bucketing import bucket_of
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.outcomes.v1 import outcome_service_pb2
from turnout.serving.v1 import prediction_service_pb2
from turnout.tensor.v1 import tensor_pb2

WIDTH = 4
SIDE = 160
HOUR_US = 3_600_000_000
NOON_US = 1_357_041_600_000_000
DEFAULT_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)


def scoring_model(weight=1.0, *, salt=0.0, turns=0, fails_above=None):
    """Return the bytes of a graph whose `score` is the first of four inputs times a weight.

    Parameters
    ----------
    salt
        A constant that changes the bytes and nothing else.
    turns
        Products of matrices on the way: what makes it slow.
    fails_above
        The last input from which on the graph fails, when it runs: it gathers from a place that is not there.
    """
    value, node = helper.make_tensor_value_info, helper.make_node
    numbers = {
        "weight": np.array([weight, 0, 0, 0], np.float32).reshape(WIDTH, 1),
        "salt": np.array([salt], np.float32),
        "nothing": np.array([0], np.float32),
        "eye": np.eye(SIDE, dtype=np.float32),
    }
    nodes = [node("MatMul", ["x", "weight"], ["plain"]), node("Mul", ["salt", "nothing"], ["unused"])]
    last = "plain"
    if fails_above is not None:
        numbers |= {
            "edge": np.array([fails_above], np.float32),
            "far": np.array([1_000_000], np.int64),
            "begin": np.array([3], np.int64),
            "end": np.array([4], np.int64),
            "axis": np.array([1], np.int64),
            "table": np.zeros((1, 1), np.float32),
        }
        nodes += [
            node("Slice", ["x", "begin", "end", "axis"], ["last"]),
            node("Greater", ["last", "edge"], ["over"]),
            node("Cast", ["over"], ["one"], to=TensorProto.INT64),
            node("Mul", ["one", "far"], ["place"]),
            node("Squeeze", ["place", "axis"], ["flat"]),
            node("Gather", ["table", "flat"], ["gathered"], axis=0),
            node("Add", [last, "gathered"], ["checked"]),
        ]
        last = "checked"
    carried = "eye"
    for turn in range(turns):
        nodes.append(node("MatMul", [carried, "square"], [f"turn{turn}"]))
        carried = f"turn{turn}"
    if turns:
        # Depends on the input, so that it cannot be computed when the graph is loaded.
        nodes.insert(0, node("ReduceMean", ["x"], ["mean"], keepdims=0))
        nodes.insert(1, node("Mul", ["mean", "nothing"], ["zero"]))
        nodes.insert(2, node("Add", ["eye", "zero"], ["square"]))
        nodes += [node("ReduceSum", [carried], ["sum"], keepdims=0), node("Mul", ["sum", "nothing"], ["none"])]
        nodes.append(node("Add", [last, "none"], ["slowly"]))
        last = "slowly"
    nodes.append(node("Add", [last, "unused"], ["score"]))
    graph = helper.make_graph(
        nodes,
        "scoring",
        [value("x", TensorProto.FLOAT, [None, WIDTH])],
        [value("score", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def ramped(model, *, shares=DEFAULT_SHARES, minimum_units=20, hours=1, guardrails=(), promote=True, **ramp):
    """Return an experiment of version 1 against version 2 with a ramp; the error of the score is a guardrail too."""
    metric = {"outcome": "truth", "output": "score", "direction": pb.DIRECTION_DECREASE}
    return pb.Experiment(
        model=f"models/{model}",
        variants=[
            pb.Variant(variant="control", version=1, share=0.5, control=True),
            pb.Variant(variant="candidate", version=2, share=0.5),
        ],
        coverage=1.0,
        minimum_units=20,
        metrics=[
            pb.Metric(metric="error", kind=pb.METRIC_KIND_SQUARED_ERROR, role=pb.METRIC_ROLE_SUCCESS, **metric),
            pb.Metric(
                metric="distance",
                kind=pb.METRIC_KIND_ABSOLUTE_ERROR,
                role=pb.METRIC_ROLE_GUARDRAIL,
                margin=1.0,
                **metric,
            ),
        ],
        ramp=ramp_pb2.Ramp(
            steps=[
                ramp_pb2.RampStep(
                    share=share,
                    minimum_time_us=hours * HOUR_US,
                    minimum_units=minimum_units,
                    proven=share == 0.5,
                )
                for share in shares
            ],
            guardrails=guardrails,
            promote=promote,
            **ramp,
        ),
    )


class Ramped:
    """A model with two versions and a ramp from the first to the second, with traffic that comes when it is told to."""

    def __init__(self, operator, model, control, candidate, **how):
        self.operator, self.model, self.name = operator, model, f"experiments/{model}-ramp"
        operator.publish_file(model, control, alias="champion")
        operator.publish_file(model, candidate)
        experiment = ramped(model, **how)
        operator.experiments.CreateExperiment(
            pb.CreateExperimentRequest(experiment_id=f"{model}-ramp", experiment=experiment)
        )
        self.random = np.random.default_rng([7, *model.encode()])
        self.number = int(self.random.integers(10**9))
        self.sent = Counter()
        self.failed = Counter()

    def start(self):
        self.operator.experiments.StartExperiment(pb.StartExperimentRequest(name=self.name))
        self.operator.wait()
        return self.look(lambda ramp: ramp.readings)

    def ramp(self):
        return self.operator.experiments.GetRamp(pb.GetRampRequest(name=self.name)).ramp

    def bounds(self, **fault):
        asked = pb.PreviewRampRequest(name=self.name, **fault)
        found = self.operator.experiments.PreviewRamp(asked).bounds
        return {(each.guardrail or each.metric, each.step): each for each in found}

    def events(self):
        return list(self.operator.experiments.ListRampEvents(pb.ListRampEventsRequest(name=self.name)).events)

    def look(self, done, *, timeout_s=100):
        """Wait until the ramp is as it should be, and return it."""
        until = time.monotonic() + timeout_s
        while not done(ramp := self.ramp()):
            if time.monotonic() > until:
                raise AssertionError(f"after {timeout_s} s the ramp is still\n{ramp}")
            time.sleep(0.05)
        return ramp

    def units(self, pairs, *, arms=("control", "candidate")):
        """Return new units: so many of each of these arms that has a slot."""
        found = self.operator.experiments.GetExperiment(pb.GetExperimentRequest(name=self.name)).experiment
        shares = {each.variant: each.share * found.coverage for each in found.variants}
        wanted = {name: pairs for name, share in shares.items() if share and name in arms}
        chosen = []
        while wanted:
            unit = f"unit-{self.number}"
            self.number += 1
            place = bucket_of(found.seed, unit) / 10_000
            arm = "control" if place < shares["control"] else None
            if arm is None and (shares["control"] == 0 or 0.5 <= place < 0.5 + shares["candidate"]):
                arm = "candidate"
            if arm in wanted:
                chosen.append(unit)
                wanted[arm] -= 1
                if not wanted[arm]:
                    del wanted[arm]
        return chosen

    def send(self, pairs, *, outcomes=True, at_once=8, arms=("control", "candidate")):
        """Let new units of the arms call, and record what was true; return how many calls each variant answered.

        The workers split as the newest step says by then: what is assigned by the step before is not of this one.
        """
        self.operator.wait()
        counts = Counter()
        truths = []
        waiting = []
        for unit in self.units(pairs, arms=arms):
            row = self.random.random((1, WIDTH), np.float32)
            request = prediction_service_pb2.PredictRequest(
                model=self.model, unit_id=unit, request_id=f"{self.model}-{unit}"
            )
            request.inputs.add(name="x", data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=row.shape, data=row.tobytes())
            waiting.append((row, self.operator.predictions.Predict.future(request, timeout=20)))
            if len(waiting) >= at_once:
                self._take(*waiting.pop(0), counts, truths)
        for row, call in waiting:
            self._take(row, call, counts, truths)
        if outcomes and truths:
            self.operator.record(*truths)
        self.sent += counts
        return counts

    def _take(self, row, call, counts, truths):
        if call.exception() is not None:
            self.failed["failed"] += 1
            counts["failed"] += 1
            return
        answer = call.result()
        counts[answer.variant] += 1
        # Every score is off by some noise.
        truth = float(row[0, 0] + self.random.normal() * 0.1)
        truths.append(outcome_service_pb2.Outcome(request_id=answer.request_id, name="truth", value=truth))
