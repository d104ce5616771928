"""A gateway with something to show: a model of four versions, two experiments, looks at one of them, a shadow."""

from __future__ import annotations

import re
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from turnout import tensors
from turnout.client import Client
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2, shadow_service_pb2
from turnout.outcome import Outcome
from turnout.registry.v1 import registry_service_pb2
from turnout.security import Security
from turnout.tokens import edited, hash_of, make_identity, new_token

sys.path.insert(0, str(Path(__file__).parent))
from trained import train

HOSTILE = "<script>alert('&\"')</script>"
UNITS = 120
ROUNDS = 5
BEGIN_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
_SEAL = re.compile(r'name="seal" value="([0-9a-f]{64})"')


def scaling_model(scale):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 4])
    weights = [numpy_helper.from_array(np.array([scale], np.float32), "scale")]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "scale"], ["score"])], "scaling", [x], [score], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@dataclass
class Site:
    """A gateway that asks for tokens, and what is in it."""

    gateway: object
    tokens: dict[str, str]
    http: str = ""
    facts: dict = field(default_factory=dict)

    def control(self, role="admin"):
        return Control(self.gateway.control_address, security=Security(token=self.tokens[role]))


class Visitor:
    """A browser without a screen: keeps cookies, follows redirections, sends forms."""

    def __init__(self, site):
        self.site = site
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), _Kept())

    def open(self, path, *, form=None, headers=None):
        """Return the status, the headers and the text of a page."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.site.http + path, data, headers or {})  # noqa: S310  (a gateway here)
        with self._opener.open(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode(), answer.url

    def text(self, path):
        status, _, text, _ = self.open(path)
        assert status == 200, (status, text)
        return text

    def seal(self, path):
        return _SEAL.search(self.text(path))[1]

    def sign_in(self, role):
        form = {"seal": self.seal("/sign-in"), "token": self.site.tokens[role], "next": "/"}
        status, _, text, url = self.open("/sign-in", form=form)
        assert (status, url) == (200, self.site.http + "/"), text
        return self

    def act(self, path, verb, **fields):
        """Send a form of a page and return the text of the page after it."""
        form = {"seal": self.seal(path), "verb": verb, **fields}
        return self.open(path, form=form)


class _Kept(urllib.request.HTTPErrorProcessor):
    """Lets a page of an error be read as any other."""

    def http_response(self, request, response):
        return response if response.status >= 400 else super().http_response(request, response)

    https_response = http_response


def furnish(site):
    """Publish, promote, predict, tell what happened, look."""
    with site.control() as control:
        control.advance_clock(BEGIN_US)
        registry = control.registry
        registry.CreateModel(
            registry_service_pb2.CreateModelRequest(
                model_id="delays",
                model=registry_service_pb2.Model(
                    description=f"Will a flight be late? {HOSTILE}", owner="ops", tags={"tier": "1"}
                ),
            )
        )
        folder = site.gateway.state.parent
        rows = np.arange(8, dtype=np.float32).reshape(2, 4)
        for number, scale in enumerate((1.0, 2.0, 3.0, 4.0), 1):
            path = folder / f"{number}.onnx"
            path.write_bytes(scaling_model(scale))
            facts = registry_service_pb2.VersionFacts(
                description=f"scale {scale}",
                algorithm="HistGradientBoostingClassifier",
                framework="scikit-learn 1.7",
                metrics={"roc_auc": 0.71 + number / 100, "brier": 0.18 - number / 200},
                parameters={"max_iter": "100", "learning_rate": "0.1"},
                parents=[number - 1] if number > 1 else [],
            )
            probe = registry_service_pb2.Probe(
                inputs=tensors.to_tensors({"x": rows}), outputs=tensors.to_tensors({"score": rows * np.float32(scale)})
            )
            control.publish_version("delays", path, facts=facts, probe=probe)
            control.advance_clock(BEGIN_US + number * HOUR_US // 8)
            if number < 3:
                control.promote("delays", number, reason=f"first look at {number}")
        control.advance_clock(BEGIN_US + HOUR_US)
        control.registry.RollbackModel(
            registry_service_pb2.RollbackModelRequest(name="models/delays", reason="too many false alarms")
        )
        control.registry.SetAlias(
            registry_service_pb2.SetAliasRequest(name="models/delays/versions/4", alias="challenger")
        )
        control.registry.CreateModel(registry_service_pb2.CreateModelRequest(model_id="empty"))
        shadow = shadow_service_pb2.Shadow(name="models/delays/shadow", alias="challenger", share=1.0)
        control.shadows.SetShadow(shadow_service_pb2.SetShadowRequest(shadow=shadow))
        create(control, "canary", (0.6, 0.2, 0.2), description=f"Does more depth help? {HOSTILE}")
        create(control, "draft", (0.5, 0.5), layer_share=0.1)
        ramp = ramp_pb2.Ramp(steps=[ramp_pb2.RampStep(share=share, approval=True) for share in (0.05, 0.25, 1.0)])
        create(control, "ramped", (0.5, 0.5), layer_share=0.1, ramp=ramp)
        create(control, "planned", (0.5, 0.5), layer_share=0.1, ramp=ramp)
        control.experiments.StartExperiment(pb.StartExperimentRequest(name="experiments/ramped"))
        control.experiments.StartExperiment(pb.StartExperimentRequest(name="experiments/canary"))
        control.wait_for_revision()
        observe(site, control)
        now_us = BEGIN_US + (ROUNDS + 2) * HOUR_US

        def advance():
            nonlocal now_us
            now_us += 24 * HOUR_US
            control.advance_clock(now_us)

        train(control, advance, HOSTILE)


def create(control, name, shares, **fields):
    variants = [
        pb.Variant(variant=("control", "deeper", "wider")[place], version=place + 1, share=share, control=place == 0)
        for place, share in enumerate(shares)
    ]
    metrics = [
        pb.Metric(
            metric="saved",
            kind=pb.METRIC_KIND_MEAN,
            outcome="minutes",
            direction=pb.DIRECTION_INCREASE,
            role=pb.METRIC_ROLE_SUCCESS,
        ),
        pb.Metric(
            metric="errors",
            kind=pb.METRIC_KIND_ERROR_RATE,
            direction=pb.DIRECTION_DECREASE,
            role=pb.METRIC_ROLE_GUARDRAIL,
            absolute_margin=0.02,
        ),
    ]
    experiment = pb.Experiment(
        model="models/delays",
        owner="ops",
        variants=variants,
        metrics=metrics,
        coverage=1.0,
        minimum_units=20,
        **({"layer_share": 0.8} | fields),
    )
    control.experiments.CreateExperiment(pb.CreateExperimentRequest(experiment_id=name, experiment=experiment))


def observe(site, control):
    """Ask for predictions, tell their outcomes, and look, several times."""
    generator = np.random.default_rng(11)
    gains = {"control": 0.0, "deeper": 0.9, "wider": 0.1}
    security = Security(token=site.tokens["admin"])
    with Client(site.gateway.data_address, security=security) as client:
        for round_ in range(ROUNDS):
            outcomes = []
            for number in range(UNITS):
                unit = f"u{round_}-{number}"
                answer = client.predict("delays", inputs={"x": np.ones((1, 4), np.float32)}, unit_id=unit)
                value = float(generator.normal(5 + gains.get(answer.variant, 0.0), 2))
                outcomes.append(Outcome(request_id=answer.request_id, name="minutes", value=value))
            client.record_outcomes(outcomes)
            control.advance_clock(BEGIN_US + (round_ + 2) * HOUR_US)
            control.experiments.GetRecommendation(pb.GetRecommendationRequest(name="experiments/canary"))


@pytest.fixture(scope="session")
def site(launch, tmp_path_factory):
    """Return a furnished gateway that asks for tokens; tests that change it say what they leave."""
    folder = tmp_path_factory.mktemp("site")
    tokens = {role: new_token() for role in ("read", "admin", "predict")}
    with edited(folder / "tokens.json") as identities:
        identities += [make_identity(f"{role}-person", [role], sha256=hash_of(token)) for role, token in tokens.items()]
    gateway = launch(folder / "state", "--tokens", str(folder / "tokens.json"), "--clock", "replay", workers=1)
    site = Site(gateway, tokens, f"http://127.0.0.1:{gateway.http}")
    furnish(site)
    return site


@pytest.fixture
def visitor(site):
    return Visitor(site)


@pytest.fixture
def reader(site):
    return Visitor(site).sign_in("read")


@pytest.fixture
def admin(site):
    return Visitor(site).sign_in("admin")


@pytest.fixture(scope="session")
def visitor_of():
    """Return the function that gives a visitor of a site."""
    return Visitor


@pytest.fixture(scope="session")
def create_experiment():
    return create


@pytest.fixture(scope="session")
def onnx_bytes():
    return scaling_model
