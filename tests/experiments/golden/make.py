"""Writes `statsmodels.json`: what statsmodels 0.15 says of fixed inputs. Run where statsmodels is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from statsmodels.stats import multitest, power, proportion, weightstats

PROPORTIONS = [((48, 80), (56, 70)), ((100, 1000), (140, 1100)), ((30, 40), (12, 35)), ((300, 5000), (250, 5100))]
P_VALUES = [
    [0.01, 0.04, 0.03],
    [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216, 0.222, 0.251],
    [0.5, 0.6],
    [0.02, 0.02, 0.02, 1.0],
]
SIZES = [(0.2, 0.8, 0.05, 1.0), (0.05, 0.9, 0.01, 1.0), (0.1, 0.8, 0.05, 0.25), (0.5, 0.95, 0.1, 3.0)]


def scores() -> list[dict]:
    # Its score intervals are not used: the cubic goes wrong in places. Its tests are.
    rows = []
    for control, treatment in PROPORTIONS:
        test = proportion.test_proportions_2indep(
            treatment[0], treatment[1], control[0], control[1], method="score", compare="diff", correction=False
        )
        rows.append({"control": control, "treatment": treatment, "p_value": test.pvalue})
    return rows


def corrections() -> list[dict]:
    return [
        {"p_values": row}
        | {
            name: multitest.multipletests(row, method=method)[1].tolist()
            for name, method in (("holm", "holm"), ("hochberg", "simes-hochberg"), ("benjamini_hochberg", "fdr_bh"))
        }
        for row in P_VALUES
    ]


def sizes() -> list[dict]:
    rows = []
    for effect, wanted, alpha, ratio in SIZES:
        n = power.NormalIndPower().solve_power(effect, power=wanted, alpha=alpha, ratio=ratio)
        reached = power.NormalIndPower().power(effect, 1000.0, alpha, ratio=ratio)
        row = {"effect": effect, "power": wanted, "alpha": alpha, "ratio": ratio, "control_units": float(n)}
        rows.append(row | {"power_of_1000": float(reached)})
    return rows


def welch() -> list[dict]:
    generator = np.random.default_rng(5)
    rows = []
    for n, m, spread in ((20, 30, 1.0), (300, 40, 5.0), (1000, 1100, 0.2)):
        one, two = generator.normal(1, 1, n), generator.normal(1.2, spread, m)
        compared = weightstats.CompareMeans(weightstats.DescrStatsW(two), weightstats.DescrStatsW(one))
        _, p, df = compared.ttest_ind(usevar="unequal")
        low, high = compared.tconfint_diff(usevar="unequal")
        rows.append(
            {"control": one.tolist(), "treatment": two.tolist(), "p_value": p, "df": df, "lower": low, "upper": high}
        )
    return rows


if __name__ == "__main__":
    found = {"scores": scores(), "corrections": corrections(), "sizes": sizes(), "welch": welch()[:2]}
    text = json.dumps(found, indent=1, default=float)
    Path(__file__).with_name("statsmodels.json").write_text(text + "\n")
