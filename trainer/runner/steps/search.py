"""A search for an estimator's parameters, by Optuna: bounded, pruned, and gone on with after a kill."""

from __future__ import annotations

import importlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.answers import metrics_of, of_estimator
from trainer.errors import EstimatorRefusedError, SearchFailedError
from trainer.estimators import build
from trainer.evaluation.verdict import INCREASES
from trainer.learning import labels_of, learn
from trainer.records.policy import Calibration, Search, Task, primary_of
from trainer.rounding import rounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainer.runner.given import Given
    from trainer.split import Parts

STORAGE = "search.log"
_STUDY = "search"
_RUNGS = (9, 3, 1)
"""A setting is tried on a ninth of the training rows, a third and all, and left where the others did better."""
_STARTUP_TRIALS = 4


def searched(given: Given, parts: Parts) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the parameters that do best on the validation rows, and what was tried; none and None without a search.

    What is tried is written to the folder as it is known, so that a search that was killed goes on behind it. Each
    setting depends on those before it and on the seed alone.

    Raises
    ------
    SearchFailedError
        Optuna is not installed, or no setting could be tried.
    """
    search = given.training.search
    if search is None:
        return {}, None
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise SearchFailedError("a search needs Optuna: install turnout[search]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = primary_of(given.definition).metric
    backend = optuna.storages.journal.JournalFileBackend(str(given.folder / STORAGE))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=_STUDY,
        direction="maximize" if INCREASES[metric] else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    for trial in study.get_trials(states=(states.RUNNING,)):  # of a process that was killed: tried anew
        study.tell(trial.number, state=states.FAIL)
        study.enqueue_trial(trial.params)
    problem = _try_all(optuna, study, given, parts)
    done = study.get_trials(states=(states.COMPLETE,))
    if not done:
        raise SearchFailedError(f"no setting could be tried: {problem or 'there was no time'}")
    best = study.best_trial
    return dict(best.params), {
        "metric": metric,
        "value": best.value,
        "parameters": dict(best.params),
        "tried": len(done),
        "pruned": len(study.get_trials(states=(states.PRUNED,))),
    }


def _try_all(optuna: Any, study: Any, given: Given, parts: Parts) -> str:
    """Try settings until there are enough, or the time is over; return what the last one failed of."""
    search, states = given.training.search or Search(), optuna.trial.TrialState
    until = time.monotonic() + (search.time_s or given.definition.budget.wall_time_s / 2)
    problem, failed = "", 0
    while (count := len(study.get_trials(states=(states.COMPLETE, states.PRUNED)))) + failed < search.trials:
        if time.monotonic() > until and count:
            break
        seed = int(np.random.SeedSequence([given.training.seed, count + failed]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        trial = study.ask()
        chosen = {name: _suggested(trial, name, domain) for name, domain in search.space.items()}
        try:
            pruned = value = None
            for rung, value in enumerate(_values(given, parts, chosen)):
                trial.report(value, rung)
                if pruned := (rung < len(_RUNGS) - 1 and trial.should_prune()):
                    break
        except EstimatorRefusedError:
            raise
        except (ValueError, TypeError, KeyError) as error:  # the estimator refuses the setting
            study.tell(trial, state=states.FAIL)
            problem, failed = str(error), failed + 1
            continue
        if pruned:
            study.tell(trial, state=states.PRUNED)
        else:
            study.tell(trial, value)
    return problem


def _values(given: Given, parts: Parts, chosen: Mapping[str, object]) -> Iterator[float]:
    """Yield the metric on the validation rows after learning from more and more of the others."""
    training, table = replace(given.training, calibration=Calibration.NONE), given.table
    metric = primary_of(given.definition).metric
    rows, labels = rounded(table.rows), labels_of(table.labels, training.task)
    validation = (rows[parts.validation], labels[parts.validation])
    order = np.random.default_rng(training.seed).permutation(parts.train)
    classes = len(np.unique(labels[parts.train]))
    for rung in _RUNGS:
        at = np.sort(order[: max(1, len(order) // rung)])
        if training.task is not Task.REGRESSION and len(np.unique(labels[at])) < classes:
            continue
        estimator = build(training, allowed=given.job["allowed"], parameters=chosen)
        learn(training, estimator, (rows[at], labels[at]), validation)
        said = of_estimator(estimator, validation[0], training.task)
        yield metrics_of(training.task, table.labels[parts.validation], said)[metric]


def _suggested(trial: Any, name: str, domain: Mapping[str, Any]) -> Any:
    if "choices" in domain:
        return trial.suggest_categorical(name, domain["choices"])
    low, high, log = domain["low"], domain["high"], domain.get("log", False)
    whole = isinstance(low, int) and isinstance(high, int)
    return (trial.suggest_int if whole else trial.suggest_float)(name, low, high, log=log)
