"""What the numbers of an analysis rest on, so that a reader of a report can check them: docs/statistics.md in short."""

# ruff: noqa: RUF001  (formulas are written with Greek letters)

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import Estimate, NotEnoughData
from experiments.metric import Covariate, MetricKind
from experiments.plan import Correction, Method

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from experiments.analysis.conclusions import Conclusions
    from experiments.definition import Experiment


@dataclass(frozen=True, slots=True)
class Note:
    """One method: its name, what it computes, what has to hold, where it comes from, and its section in the docs."""

    method: str
    formula: str
    assumptions: str
    reference: str
    section: str


_INDEPENDENT = "Units are independent of one another; there are so many that their means are near enough to normal."

WELCH = Note(
    "Welch's difference of means, within epochs",
    "d = Σ aₑ dₑ, aₑ ∝ 1/(s²ₜ/nₜₑ + s²_c/n_cₑ) with variances pooled within epochs; "
    "V = Σ aₑ² (s²ₜₑ/nₜₑ + s²_cₑ/n_cₑ) + covariances of epochs that share units",
    _INDEPENDENT,
    "Welch, Biometrika 34 (1947); Satterthwaite, Biometrics Bulletin 2 (1946)",
    "The difference between two variants",
)
DELTA = Note(
    "Ratio of sums over units (delta method)",
    "R = ΣN / ΣD, Var R = (s²_N - 2 R s_ND + R² s²_D) / (n D̄²)",
    "Units are independent; the mean of the denominator is at least three standard errors from zero.",
    "Deng, Knoblich, Lu, KDD 2018",
    "A ratio of sums",
)
CUPED = Note(
    "Covariate adjustment (CUPED)",
    "each unit less θ(x - x̄), θ = Σₓₓ⁻¹ Σₓᵧ pooled within the arms",
    "The treatment cannot touch the covariate.",
    "Deng, Xu, Kohavi, Walker, WSDM 2013",
    "A covariate (CUPED)",
)
STRATA = Note(
    "Post-stratification",
    "d = Σ wₖ(t̄ₖ - c̄ₖ), V = Σ wₖ² Vₖ + Σ wₖ(dₖ - d)²/n",
    "The stratum is known before the assignment.",
    "Miratrix, Sekhon, Yu, JRSS B 75 (2013)",
    "Strata",
)
SCORE = Note(
    "Score interval of two proportions",
    "|p̂ₜ - p̂_c - Δ| ≤ z √(p̃ₜq̃ₜ/nₜ + p̃_c q̃_c/n_c), with the likeliest proportions under Δ",
    "Units are independent; one look.",
    "Mee, Biometrics 40 (1984); Miettinen, Nurminen, Statistics in Medicine 4 (1985)",
    "Proportions",
)
QUANTILE = Note(
    "Quantile between order statistics",
    "binomial ranks around the quantile; their distance over 2 · 1.96 is its standard error",
    "The values have a density around the quantile.",
    "Conover, Practical Nonparametric Statistics (1999), 3.2",
    "Quantiles",
)
SEQUENCE = Note(
    "Asymptotic confidence sequence",
    "d ± √V · √( 2(Nρ²+1)/(Nρ²) · ln(√(Nρ²+1)/α) ), intersected over all looks; ρ² = (-W₋₁(-α²/e) - 1)/N*",
    "The effect is constant; it holds at all looks together, whatever they depend on.",
    "Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Annals of Statistics 52 (2024)",
    "How often one may look",
)
GROUP_SEQUENTIAL = Note(
    "Group sequential test by alpha spending",
    "boundaries by numerical integration, spending 4(1 - Φ(z₁₋α/4/√t)) (O'Brien-Fleming-like) or α t² (power family)",
    "The planned units were set before anyone looked.",
    "Lan, DeMets, Biometrika 70 (1983); Jennison, Turnbull, Group Sequential Methods (2000)",
    "How often one may look",
)
FIXED = Note(
    "One look",
    "d ± t √V, t from Satterthwaite's degrees of freedom",
    "It is looked at once, at a time that was set before.",
    "Welch, Biometrika 34 (1947)",
    "How often one may look",
)
LIFT = Note(
    "Lift with Fieller's interval",
    "(t̄ - c̄)/|c̄|; all ρ with |t̄ - ρc̄| ≤ q √(Vₜ - 2ρC + ρ²V_c), q being that of the difference",
    "The control's mean can be told from zero.",
    "Fieller, JRSS B 16 (1954)",
    "The lift",
)
POSTERIOR = Note(
    "Posterior under a normal prior",
    "prior N(0, (0.3|c̄|)²); chance to win = P(better), expected loss = E[max(0, -gain)]",
    "It decides nothing: it does not say how often one is wrong who stops at will.",
    "Gelman et al., Bayesian Data Analysis, 2.5",
    "The posterior",
)
CURSE = Note(
    "Effect without the winner's curse",
    "the δ at which E[D | |D| > qσ; δ] = d",
    "The effect was picked for passing q standard errors.",
    "Zhong, Prentice, Biostatistics 9 (2008)",
    "Several claims, and the winner's curse",
)
SAMPLE_RATIO = Note(
    "Sample ratio, at each stage",
    "Pearson's χ²; at any number of looks the mean of Dirichlet-multinomial Bayes factors at the concentrations 10 to "
    "10 000, p = 1 over it; a mismatch is p < 0.001",
    "Each unit counts in the epoch that it was first seen in.",
    "Fabijan et al., KDD 2019; Lindon, Malek, NeurIPS 2022",
    "Whether the data can be trusted",
)
BALANCE = Note(
    "Balance and missing outcomes",
    "the difference of the arms in what the treatment cannot touch, and in outcomes that are missing; p < 0.001",
    _INDEPENDENT,
    "Fabijan et al., KDD 2019",
    "Whether the data can be trusted",
)
_CORRECTIONS = {
    Correction.HOLM: ("Holm", "p₍ᵢ₎(m - i + 1), running maximum", "Holm, Scandinavian Journal of Statistics 6 (1979)"),
    Correction.HOCHBERG: ("Hochberg", "p₍ᵢ₎(m - i + 1), running minimum from above", "Hochberg, Biometrika 75 (1988)"),
    Correction.BENJAMINI_HOCHBERG: (
        "Benjamini and Hochberg",
        "p₍ᵢ₎ m / i, running minimum from above",
        "Benjamini, Hochberg, JRSS B 57 (1995)",
    ),
}
_LOOKS = {Method.FIXED: FIXED, Method.SEQUENCE: SEQUENCE, Method.GROUP_SEQUENTIAL: GROUP_SEQUENTIAL}
ALL = (
    WELCH, DELTA, CUPED, STRATA, SCORE, QUANTILE, *_LOOKS.values(), LIFT, POSTERIOR, CURSE, SAMPLE_RATIO, BALANCE,
)  # fmt: skip


def methods_used(experiment: Experiment, conclusions: Conclusions) -> tuple[Note, ...]:
    """Return the methods that the numbers of an analysis rest on, in the order in which they are applied."""
    estimates = [each.result for each in conclusions.comparisons if isinstance(each.result, Estimate)]
    notes: list[Note] = [SAMPLE_RATIO]
    if conclusions.balance or conclusions.missingness:
        notes.append(BALANCE)
    if estimates:
        notes.extend(_of_estimates(experiment, estimates))
        notes.append(_LOOKS[experiment.plan.settled_method])
        notes.extend(_beside(estimates))
        notes.extend(_of_correction(experiment, estimates))
        notes.append(CURSE)
    return tuple(notes)


def _of_estimates(experiment: Experiment, estimates: Sequence[Estimate]) -> Iterator[Note]:
    named = {each.method for each in estimates}
    kinds = {each.kind for each in experiment.metrics}
    if any(name.startswith(("welch", "cuped")) for name in named):
        yield WELCH
    # Errors and means of several predictions of a unit are ratios of sums too.
    if kinds - {MetricKind.PROPORTION, MetricKind.COUNT, MetricKind.QUANTILE}:
        yield DELTA
    if any(name.startswith("cuped") for name in named) and any(
        each.covariate is not Covariate.NONE for each in experiment.metrics
    ):
        yield CUPED
    if any("poststratified" in name for name in named):
        yield STRATA
    if any(name.startswith("score") for name in named):
        yield SCORE
    if any(name.startswith("quantile") for name in named):
        yield QUANTILE


def _beside(estimates: Sequence[Estimate]) -> Iterator[Note]:
    if not all(isinstance(each.relative, NotEnoughData) for each in estimates):
        yield LIFT
    if not all(isinstance(each.posterior, NotEnoughData) for each in estimates):
        yield POSTERIOR


def _of_correction(experiment: Experiment, estimates: Sequence[Estimate]) -> Iterator[Note]:
    found = _CORRECTIONS.get(experiment.plan.correction)
    if found is not None and len(estimates) > 1:
        name, formula, reference = found
        yield Note(
            f"Several claims ({name})",
            formula,
            "Success metrics share alpha; guardrails are judged at alpha each.",
            reference,
            "Several claims, and the winner's curse",
        )
