"""Triggers that need no statistics: skew, new labels, age, another definition, and people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.triggers.verdict import Evidence, Finding, Verdict, insufficient

if TYPE_CHECKING:
    from trainer.triggers.stored import Stored
    from trainer.triggers.verdict import Number

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Skew:
    """Fires when a replay of at least `rows_min` calls found features that are others than a recomputation gives."""

    rows_min: int = 1

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return "skew"

    def judge(self, stored: Stored) -> Evidence:
        """Return whether features are skewed."""
        if stored.skew is None or stored.skew_calls < self.rows_min:
            return insufficient(
                self.kind,
                f"{stored.skew_calls} calls were replayed; {self.rows_min} are needed",
                calls=stored.skew_calls,
                rows_min=self.rows_min,
            )
        numbers = {"calls": stored.skew_calls, "findings": len(stored.skew)}
        if not stored.skew:
            return Evidence(self.kind, Verdict.QUIET, f"no skew in {stored.skew_calls} calls", numbers)
        findings = tuple(
            Finding(sentence.partition(":")[0], "replay", flagged=True, numbers={"sentence": sentence})
            for sentence in stored.skew
        )
        return Evidence(self.kind, Verdict.FIRE, stored.skew[0], numbers, findings)


@dataclass(frozen=True, slots=True)
class Volume:
    """Fires when so many labels have become known since the version's training table was made."""

    labels: int = 10_000

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return "volume"

    def judge(self, stored: Stored) -> Evidence:
        """Return whether there is enough new to learn from."""
        found = stored.new_labels
        if found is None:
            return insufficient(self.kind, "it is not known how many labels are new", labels_wanted=self.labels)
        verdict = Verdict.FIRE if found >= self.labels else Verdict.QUIET
        reason = f"{found} labels are new; {self.labels} are waited for"
        return Evidence(self.kind, verdict, reason, {"labels": found, "labels_wanted": self.labels})


@dataclass(frozen=True, slots=True)
class Age:
    """Fires when the version that serves was published so long ago."""

    age_us: int = 30 * DAY_US

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return "time"

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the version is old."""
        if stored.published_us is None:
            return insufficient(self.kind, "no version serves", age_us_wanted=self.age_us)
        age_us = stored.now_us - stored.published_us
        verdict = Verdict.FIRE if age_us >= self.age_us else Verdict.QUIET
        reason = f"the version is {age_us / DAY_US:.1f} days old; it may become {self.age_us / DAY_US:.1f}"
        return Evidence(self.kind, verdict, reason, {"age_us": age_us, "age_us_wanted": self.age_us})


@dataclass(frozen=True, slots=True)
class Definition:
    """Fires when the feature set is defined otherwise than when the version learned from it."""

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return "definition"

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the definition changed."""
        before, now = stored.trained_on_digest, stored.current_digest
        if not before or not now:
            return insufficient(self.kind, "the digest of a feature set is not known", trained_on=before, current=now)
        numbers = {"trained_on": before, "current": now}
        if before == now:
            return Evidence(self.kind, Verdict.QUIET, "the feature set is the one that it was trained on", numbers)
        reason = f"the feature set is {now[:12]} by now; it was trained on {before[:12]}"
        return Evidence(self.kind, Verdict.FIRE, reason, numbers)


@dataclass(frozen=True, slots=True)
class Manual:
    """Fires when somebody asked for a run."""

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return "manual"

    def judge(self, stored: Stored) -> Evidence:
        """Return whether somebody asked."""
        request = stored.request
        if request is None:
            return Evidence(self.kind, Verdict.QUIET, "nobody asked for a run")
        numbers: dict[str, Number] = {"actor": request.actor, "time_us": request.time_us}
        return Evidence(self.kind, Verdict.FIRE, f"{request.actor} asked: {request.reason or 'no reason'}", numbers)
