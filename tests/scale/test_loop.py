"""The whole loop over three gateways: features, versions, an experiment, outcomes, one analysis, a promotion."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from judge import judge
from network import Loopback, Namespaces, namespaces_allowed
from rig import STORES
from test_chaos import SEED, running
from traffic import SPLIT, Traffic

from turnout import Client
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as epb


@pytest.mark.soak
def test_the_loop_runs_through_three_gateways_and_each_analyses_the_same():
    why_not = namespaces_allowed()
    network = Loopback() if why_not else Namespaces(["g1", "g2", "g3", *STORES])
    print(f"network: {network.kind} {why_not}", flush=True)
    with running(3, network) as rig:
        with Traffic(rig, SEED, rate_per_s=80) as traffic:
            traffic.wait_for(1500)
        print(judge(rig, traffic), flush=True)
        reports = []
        for name in rig.names:
            with Control(rig.control_address(name)) as control:
                report = control.experiments.AnalyzeExperiment(epb.AnalyzeExperimentRequest(name="experiments/split"))
                reports.append(sorted((each.variant, each.units) for each in report.counts))
        print(reports[0], flush=True)
        assert reports[0] == reports[1] == reports[2]
        assert sum(units for _, units in reports[0]) == sum(each.model == SPLIT for each in traffic.answers)
        with Control(rig.control_address("g2")) as control:
            request = epb.ConcludeExperimentRequest(name="experiments/split", reason="all seen")
            control.experiments.ConcludeExperiment(request)
            revision = control.promote(SPLIT, 2, override_reason="the loop's end").revision
        for name in rig.names:
            with Control(rig.control_address(name)) as control:
                control.wait_for_revision(revision)
            with Client(rig.data_address(name)) as client:
                answer = client.predict(SPLIT, entities={"driver": "d3"}, features={"hour": 7.0})
                assert (answer.version, answer.outputs["score"].ravel().tolist()) == (2, [6.0, 14.0])
