"""Twenty kinds of classifiers on scikit-learn's own data sets: what their graphs answer is what they answer."""

from __future__ import annotations

import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from trainer.certificate import Verdict
from trainer.estimators import build
from trainer.export import export
from trainer.parity import certify
from trainer.publish import faithful
from trainer.records.policy import Estimator, Training
from trainer.rounding import rounded

SCALED = (Estimator("sklearn.preprocessing.StandardScaler"),)
BEHIND_SCALING = {
    "linear_model.LogisticRegression": {},
    "linear_model.LogisticRegressionCV": {"Cs": 2, "cv": 3, "use_legacy_attributes": False},
    "linear_model.SGDClassifier": {"loss": "log_loss"},
    "naive_bayes.GaussianNB": {},
    "naive_bayes.BernoulliNB": {},
    "discriminant_analysis.QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "neural_network.MLPClassifier": {"hidden_layer_sizes": [8], "max_iter": 60, "tol": 1e-2, "n_iter_no_change": 2},
}
AS_THEY_ARE = {
    "tree.DecisionTreeClassifier": {"max_depth": 4},
    "tree.ExtraTreeClassifier": {"max_depth": 4},
    "ensemble.RandomForestClassifier": {"n_estimators": 10},
    "ensemble.ExtraTreesClassifier": {"n_estimators": 10},
    "ensemble.GradientBoostingClassifier": {"n_estimators": 10},
    "ensemble.HistGradientBoostingClassifier": {"max_iter": 10},
    "ensemble.AdaBoostClassifier": {"n_estimators": 5},
    "ensemble.BaggingClassifier": {"n_estimators": 5},
}
OF_OTHERS = {
    "one against the rest": lambda: make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression())),
    "a calibrated one": lambda: CalibratedClassifierCV(GaussianNB(), method="sigmoid", cv=3),
    "a vote": lambda: VotingClassifier(
        [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))],
        voting="soft",
        flatten_transform=False,
    ),
    "a stack": lambda: StackingClassifier(
        [("bayes", GaussianNB()), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))],
        final_estimator=LogisticRegression(),
        cv=3,
    ),
    "a search": lambda: make_pipeline(StandardScaler(), GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3)),
}


@pytest.fixture(scope="module")
def sets():
    return [load(return_X_y=True) for load in (load_breast_cancer, load_iris, load_wine)]


def by_path(kind):
    known = BEHIND_SCALING if kind in BEHIND_SCALING else AS_THEY_ARE
    estimator = Estimator(f"sklearn.{kind}", known[kind])
    return build(Training(estimator=estimator, transformers=SCALED if known is BEHIND_SCALING else ()))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", [*BEHIND_SCALING, *AS_THEY_ARE, *OF_OTHERS])
def test_a_kind_is_written_as_it_is_on_every_set(sets, kind):
    for rows, labels in sets:
        unfitted = OF_OTHERS[kind]() if kind in OF_OTHERS else by_path(kind)
        estimator = unfitted.fit(rounded(rows), labels)
        certificate = certify(estimator, export(estimator, rows), rows)
        assert certificate.verdict in (Verdict.AGREES, Verdict.AGREES_WITH_STEPS), certificate.reason
        assert certificate.real.label_flips == certificate.adversarial.label_flips == 0


def test_trees_behind_scaling_are_written_in_the_form_that_is_faithful(sets):
    (rows, labels), *_ = sets
    boosting = Estimator("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 10})
    training = Training(estimator=boosting, transformers=SCALED)
    estimator = build(training).fit(rounded(rows), labels)
    assert certify(estimator, export(estimator, rows), rows).verdict is Verdict.DISAGREES
    exported, certificate = faithful(estimator, rows)
    assert exported.dtype == "float64"
    assert certificate.real.label_flips == certificate.adversarial.label_flips == 0
