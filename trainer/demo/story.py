"""The whole loop, told from beginning to end with real processes: serve, train, replay, experiment, promote."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from trainer.demo import flights, trial
from trainer.demo.child import Child
from trainer.demo.departures import read_departures
from trainer.demo.errors import ChildFailedError
from trainer.demo.furnish import furnish
from trainer.demo.replay import SAMPLES_FILE
from trainer.demo.result import Result
from trainer.demo.sender import MODEL
from trainer.demo.server import Server
from trainer.demo.swaps import SwapWindow, swap
from turnout import resources
from turnout.control import Control
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.report.times import day_text

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.demo.scale import Scale
    from trainer.demo.screen import Screen
    from trainer.demo.trial import EffectPoint

_WORKERS = 2
_POLL_S = 0.1
_ANALYSIS_GAP_S = 2.5
_TRAINING_TIMEOUT_S = 900.0


def tell(scale: Scale, state: Path, screen: Screen) -> Result:
    """Run the demo in a state folder and return what it found, or raise DomainError or TurnoutError.

    Parameters
    ----------
    scale
        How much is replayed.
    state
        An empty folder; the gateway's state, the sources, the samples and the logs go there.
    screen
        Where progress is shown.
    """
    sources, server_state = state / "sources", state / "gateway"
    server_state.mkdir(parents=True, exist_ok=True)
    screen.doing("preparing the flights of 2013")
    flights.prepare(sources)
    total = len(read_departures(sources, start_us=scale.start_us, end_us=scale.end_us))
    screen.done(f"the flights of 2013 are ready; {total:,} departures will be replayed")
    server = Server(server_state, workers=_WORKERS, log=state / "gateway.log")
    with server, Control(server.control, actor="demo", timeout_s=120) as control:
        screen.done(f"turnout serve runs {_WORKERS} workers on {server.data}, control on {server.control}")
        story = Story(scale, state, screen, server=server, control=control, total=total)
        story.begin()
        story.replay()
        result = story.end()
    return replace(result, clean_stop=server.exit_code == 0)


class Story:
    """The course of the demo on a gateway that runs.

    Parameters
    ----------
    scale, state, screen
        As `tell` takes them.
    server, control
        The gateway.
    total
        How many departures will be replayed.
    """

    def __init__(
        self, scale: Scale, state: Path, screen: Screen, *, server: Server, control: Control, total: int
    ) -> None:
        self._scale = scale
        self._state = state
        self._screen = screen
        self._server = server
        self._control = control
        self._total = total
        self._versions: list[dict[str, Any]] = []
        self._effects: list[EffectPoint] = []
        self._swaps: list[SwapWindow] = []
        self._decision = trial.Decision("continue", "", ())
        self._replayed: dict[str, Any] = {"now_us": scale.start_us, "until_us": 0, "requests": 0, "state": "waiting"}
        self._decided_us = 0
        self._analyzed_s = 0.0

    def begin(self) -> None:
        """Make the features known and fill the online store; train, publish and promote version 1."""
        furnish(self._control, self._state / "sources", self._screen, start_us=self._scale.start_us)
        self._screen.doing("training version 1")
        with self._trainer("small") as training:
            made = self._trained(training)
        promoted = self._control.promote(MODEL, made["version"], reason="the first version")
        self._control.wait_for_revision(promoted.revision)
        self._screen.done("version 1 is the champion on every worker")

    def replay(self) -> None:
        """Replay the departures while version 2 is trained, tried and promoted."""
        scale = self._scale
        arguments = ["--data", self._server.data, "--control", self._server.control]
        arguments += ["--sources", str(self._state / "sources"), "--out", str(self._state)]
        arguments += ["--start-us", str(scale.start_us), "--end-us", str(scale.end_us)]
        arguments += ["--rate", str(scale.rate_per_s)]
        with Child("trainer.demo.replay", arguments, log=self._state / "replay.log") as replaying:
            replaying.tell(until_us=scale.experiment_us)
            second = self._train_meanwhile(replaying)
            self._wait_until(replaying, scale.experiment_us)
            first = self._versions[0]["version"]
            self._control.wait_for_revision(trial.start(self._control, first=first, second=second))
            self._screen.done(f"experiment {trial.EXPERIMENT} runs: half of the flights get version {second}")
            replaying.tell(until_us=scale.decision_us)
            self._screen.doing("the experiment runs")
            self._wait_until(replaying, scale.decision_us, analyze=True)
            self._decide(replaying)
            self._screen.doing("flying on")
            self._wait_until(replaying, scale.end_us, analyze=True)
            replaying.tell(finish=True)
            while self._replayed["state"] != "finished":
                self._listen(replaying)

    def end(self) -> Result:
        """Analyze everything that was recorded, and return what was found."""
        self._screen.doing("the last analysis")
        analysis = trial.analyze(self._control)
        point = trial.effect(analysis)
        replayed = self._replayed
        self._screen.done(
            f"{replayed['acknowledged']:,} outcomes acknowledged, {analysis.outcomes_analyzed:,} analyzed"
        )
        return Result(
            samples=pq.read_table(self._state / SAMPLES_FILE),
            failures=replayed["failures"],
            swaps=self._swaps,
            effects=self._effects,
            decided_us=self._decided_us,
            experiment=trial.document(analysis, point, self._decision),
            decision=self._decision,
            outcomes_acknowledged=replayed["acknowledged"],
            outcomes_analyzed=analysis.outcomes_analyzed,
            outcomes_refused=replayed["refused"],
            versions=self._versions,
            duration_s=self._screen.elapsed_s,
        )

    def _trainer(self, recipe: str) -> Child:
        """Start a training in a process of its own, on what has landed by now."""
        arguments = [recipe, "--control", self._server.control, "--every", str(self._scale.train_every)]
        arguments += ["--now-us", str(self._scale.start_us)]
        for version in self._versions:
            arguments += ["--parent", str(version["version"])]
        return Child("trainer.demo.train", arguments, log=self._state / f"train-{recipe}.log")

    def _train_meanwhile(self, replaying: Child) -> int:
        """Train version 2 while the replay goes on, and return its number."""
        self._screen.doing("training version 2 while version 1 answers")
        with self._trainer("full") as training:
            return int(self._trained(training, replaying=replaying)["version"])

    def _trained(self, training: Child, *, replaying: Child | None = None) -> dict[str, Any]:
        """Wait for a training and return what became of it."""
        until_s = time.monotonic() + _TRAINING_TIMEOUT_S
        while time.monotonic() < until_s:
            if replaying is not None:
                self._listen(replaying)
            for made in training.reports():
                self._versions.append(made)
                parity, metrics = made["parity"], made["metrics"]
                self._screen.done(
                    f"version {made['version']} published: {made['algorithm']} on {made['features']} features, "
                    f"{made['rows']:,} rows; Brier {metrics['brier']:.4f}, AUC {metrics['roc_auc']:.3f}; parity "
                    f"{parity['verdict']} on {parity['rows']:,} rows, largest difference {parity['max_delta']:.1e}"
                )
                return made
            time.sleep(_POLL_S)
        raise ChildFailedError(f"the training took longer than {_TRAINING_TIMEOUT_S:g} s")

    def _listen(self, replaying: Child) -> None:
        """Take the replay's reports."""
        self._server.check()
        for report in replaying.reports():
            self._replayed = report
        now_us, requests = self._replayed["now_us"], self._replayed["requests"]
        self._screen.replayed(requests, self._total, day_text(now_us))
        time.sleep(_POLL_S)

    def _wait_until(self, replaying: Child, time_us: int, *, analyze: bool = False) -> None:
        """Wait until the replay has come to a moment and waits there."""
        while not (self._replayed["state"] == "waiting" and self._replayed["until_us"] >= time_us):
            self._listen(replaying)
            if analyze and time.monotonic() - self._analyzed_s > _ANALYSIS_GAP_S:
                self._analyze()

    def _analyze(self) -> None:
        """Keep the effect as it stands."""
        point = trial.effect(trial.analyze(self._control))
        self._analyzed_s = time.monotonic()
        if point is not None and (not self._effects or point.now_us > self._effects[-1].now_us):
            self._effects.append(point)

    def _decide(self, replaying: Child) -> None:
        """Ask what to do, and do it while requests come."""
        self._analyze()
        self._decision = trial.decide(self._control)
        self._decided_us = self._replayed["now_us"]
        for reason in self._decision.reasons:
            self._screen.done(f"[bold]{self._decision.recommendation}[/bold]: {reason}")
        replaying.tell(until_us=self._scale.end_us)
        self._under_load(replaying)
        winner = self._decision.variant if self._decision.recommendation == "ship" else ""
        reason = " ".join(self._decision.reasons)
        if not winner:
            trial.conclude(self._control, winner="", reason=reason)
            return
        first, second = (version["version"] for version in self._versions)
        self._swap(f"promote version {second}", lambda: trial.conclude(self._control, winner=winner, reason=reason))
        self._under_load(replaying)
        self._swap(f"roll back to version {first}", lambda: self._roll_back(first))
        self._under_load(replaying)
        promote = f"promote version {second}"
        self._swap(promote, lambda: self._control.promote(MODEL, second, reason="the drill is over").revision)

    def _under_load(self, replaying: Child) -> None:
        """Let requests come for a while."""
        until_s = time.monotonic() + self._scale.between_swaps_s
        while time.monotonic() < until_s:
            self._listen(replaying)

    def _roll_back(self, version: int) -> int:
        """Make an earlier champion the champion again, as a drill, and return the revision."""
        request = registry_pb.RollbackModelRequest(name=resources.model_name(MODEL), version=version, reason="a drill")
        return self._control.registry.RollbackModel(request).revision

    def _swap(self, what: str, change: Any) -> None:
        """Change the champion under load and keep the window."""
        window = swap(self._control, what, change)
        self._swaps.append(window)
        applied_ms = (window.applied_s - window.begin_s) * 1000
        self._screen.done(f"{what}: on every worker after {applied_ms:.0f} ms")
