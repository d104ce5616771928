"""Write tests/trainer/references/drift.json: what NannyML, Evidently and scipy say of data that NannyML ships.

`python tools/drift_references.py [FOLDER]` makes an environment of its own in the folder (a temporary one unless
given), installs them there, and has them say it. tests/trainer/test_references.py then compares.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "tests/trainer/references/drift.json"
PACKAGES = ("nannyml==0.13.1", "evidently==0.7.23", "pandas<3")
CHUNK_ROWS = 5_000
FEW_REFERENCE_ROWS, FEW_ROWS = 2_000, 1_000
COUNTED = ("y_pred_proba", "loan_length", "salary_range", "size_of_downpayment", "repaid_loan_on_prev_car")
NUMERIC = ("y_pred_proba", "loan_length", "car_value")
METRICS = ("roc_auc", "f1", "accuracy", "precision", "recall")


def main(arguments: list[str]) -> int:
    """Make the environment, or inside it write the file."""
    if arguments[:1] == ["--record"]:
        TARGET.write_text(json.dumps(record(), separators=(",", ":")) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments[0] if arguments else temporary)
        python = folder / "bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        subprocess.run([python, __file__, "--record"], check=True)
    return 0


def record() -> dict[str, object]:
    """Return the data, as counts where that is less, and what each library says of it."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml as nml  # noqa: PLC0415  (the environment of this script)
    import numpy as np  # noqa: PLC0415
    import scipy  # noqa: PLC0415

    np.random.seed(0)  # noqa: NPY002  (Evidently draws from it)
    reference, analysis, targets = nml.load_synthetic_car_loan_dataset()
    analysis = analysis.merge(targets, on="id")
    for rows in (reference, analysis):  # Turnout's answers are 1 from one half on
        rows["y_pred"] = (rows["y_pred_proba"] >= 0.5).astype(int)  # noqa: PLR2004
    chunks = [analysis[start : start + CHUNK_ROWS] for start in range(0, len(analysis), CHUNK_ROWS)]
    few = reference[:FEW_REFERENCE_ROWS], [analysis[:FEW_ROWS], analysis[-FEW_ROWS:]]
    said = {}
    for name in (*COUNTED, "car_value"):
        before, after = (reference, chunks) if name in COUNTED else few
        said[name] = column(name, before[name], [chunk[name] for chunk in after])
    return {
        "versions": {
            "nannyml": nml.__version__,
            "evidently": PACKAGES[1].partition("==")[2],
            "scipy": scipy.__version__,
        },
        "columns": said,
        "cbpe": cbpe(reference, analysis, chunks),
    }


def column(name: str, reference, chunks) -> dict[str, object]:  # noqa: ANN001
    """Return a column's counts or values, and how they are said to differ."""
    is_numeric = name in NUMERIC
    values = sorted(set(reference.unique()).union(*(chunk.unique() for chunk in chunks)))
    held: dict[str, object] = {}
    if name in COUNTED:
        held["values"] = [float(value) for value in values] if is_numeric else list(range(len(values)))
        held["reference"] = [int((reference == value).sum()) for value in values]
        held["chunks"] = [[int((chunk == value).sum()) for value in values] for chunk in chunks]
    else:
        held["reference_values"] = [float(value) for value in reference]
        held["chunk_values"] = [[float(value) for value in chunk] for chunk in chunks]
    return held | {"said": [_numbers(reference, chunk, is_numeric=is_numeric) for chunk in chunks]}


def _numbers(reference, chunk, *, is_numeric: bool) -> dict[str, float]:  # noqa: ANN001
    from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon  # noqa: PLC0415
    from evidently.legacy.calculations.stattests.psi import _psi  # noqa: PLC0415
    from evidently.legacy.calculations.stattests.wasserstein_distance_norm import _wasserstein_distance_norm  # noqa: PLC0415
    from evidently.legacy.core import ColumnType  # noqa: PLC0415
    from nannyml.chunk import SizeBasedChunker  # noqa: PLC0415
    from nannyml.drift.univariate import FeatureType, MethodFactory  # noqa: PLC0415
    from nannyml.thresholds import ConstantThreshold  # noqa: PLC0415
    from scipy import stats  # noqa: PLC0415

    kind = FeatureType.CONTINUOUS if is_numeric else FeatureType.CATEGORICAL
    keys = (
        ("kolmogorov_smirnov", "jensen_shannon", "wasserstein")
        if is_numeric
        else ("jensen_shannon", "l_infinity", "chi2")
    )
    found = {}
    for key in keys:
        method = MethodFactory.create(
            key=key,
            feature_type=kind,
            chunker=SizeBasedChunker(CHUNK_ROWS),
            threshold=ConstantThreshold(upper=1),
        )
        method.fit(reference_data=reference)
        found[f"nannyml.{key}"] = float(method.calculate(chunk))
    theirs = ColumnType.Numerical if is_numeric else ColumnType.Categorical
    found["evidently.psi"] = float(_psi(reference, chunk, theirs, 0.1)[0])
    found["evidently.jensen_shannon"] = float(_jensenshannon(reference, chunk, theirs, 0.1)[0])
    if is_numeric:
        found["evidently.wasserstein"] = float(_wasserstein_distance_norm(reference, chunk, theirs, 0.1)[0])
        found["scipy.ks_2samp.p"] = float(stats.ks_2samp(reference, chunk).pvalue)
        found["scipy.wasserstein"] = float(stats.wasserstein_distance(reference, chunk))
    else:
        table = [reference.value_counts(), chunk.value_counts()]
        keys = sorted(set(table[0].index) | set(table[1].index))
        result = stats.chi2_contingency([[side.get(key, 0) for key in keys] for side in table], correction=False)
        found["scipy.chi2"], found["scipy.chi2.p"] = float(result.statistic), float(result.pvalue)
    return found


def cbpe(reference, analysis, chunks) -> dict[str, object]:  # noqa: ANN001
    """Return scores by label as counts, and what NannyML estimates and measures, with its thresholds."""
    import nannyml as nml  # noqa: PLC0415

    given = {"y_pred_proba": "y_pred_proba", "y_pred": "y_pred", "y_true": "repaid", "chunk_size": CHUNK_ROWS}
    given |= {"problem_type": "classification_binary", "metrics": list(METRICS)}
    estimator = nml.CBPE(**given).fit(reference)
    estimated = estimator.estimate(analysis).to_df()
    measured = nml.PerformanceCalculator(**given).fit(reference).calculate(analysis).to_df()
    is_of = {frame: estimated[("chunk", "period")] == frame for frame in ("reference", "analysis")}
    scores = sorted(set(reference["y_pred_proba"]) | set(analysis["y_pred_proba"]))

    def counts(rows) -> list[list[int]]:  # noqa: ANN001
        return [
            [int(((rows["y_pred_proba"] == score) & (rows["repaid"] == label)).sum()) for score in scores]
            for label in (0, 1)
        ]

    before = [reference[start : start + CHUNK_ROWS] for start in range(0, len(reference), CHUNK_ROWS)]
    said = {}
    for metric in METRICS:
        rows = estimated[is_of["analysis"]][metric]
        said[metric] = {
            "estimated": rows["value"].tolist(),
            "sampling_error": rows["sampling_error"].tolist(),
            "lower_threshold": float(rows["lower_threshold"].iloc[0]),
            "upper_threshold": float(rows["upper_threshold"].iloc[0]),
            "realized": measured[measured[("chunk", "period")] == "analysis"][metric]["value"].tolist(),
            "realized_reference": measured[measured[("chunk", "period")] == "reference"][metric]["value"].tolist(),
        }
    return {
        "scores": [float(score) for score in scores],
        "calibrated": bool(estimator.needs_calibration),
        "reference": [counts(rows) for rows in before],
        "chunks": [counts(rows) for rows in chunks],
        "said": said,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
