"""When a policy's next check is due, and whether its budget lets a trigger make a run: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from croniter import croniter

from storage.lasting import lasting
from trainer.records.policy import DAY_US

if TYPE_CHECKING:
    from trainer.records.policy import Budget, CheckSchedule

JITTER_PART = 20
JITTER_US_MAX = 60_000_000


def next_check_us(schedule: CheckSchedule, *, after_us: int, chance: float) -> int:
    """Return when the first check after a time is due; 0 for never.

    Parameters
    ----------
    schedule
        What was asked for.
    after_us
        The time.
    chance
        A number in [0, 1), drawn by the caller, that decides the jitter.
    """
    if schedule.cron:
        after = datetime.fromtimestamp(after_us / 1e6, UTC)
        first: datetime = croniter(schedule.cron, after).get_next(datetime)
        second: datetime = croniter(schedule.cron, first).get_next(datetime)
        due_us, interval_us = int(first.timestamp() * 1e6), int((second - first) / timedelta(microseconds=1))
    elif schedule.interval_us:
        due_us, interval_us = after_us + schedule.interval_us, schedule.interval_us
    else:
        return 0
    longest = schedule.jitter_us
    if longest is None:
        longest = min(interval_us // JITTER_PART, JITTER_US_MAX)
    return due_us + int(chance * longest)


@dataclass(frozen=True, slots=True)
class Past:
    """What the budget looks at.

    Attributes
    ----------
    ended_us
        When the policy's last run was over; 0: there was none.
    triggered_us
        When its last runs of triggers were made.
    """

    ended_us: int
    triggered_us: tuple[int, ...]


def refusal(budget: Budget, past: Past, *, now_us: int) -> str:
    """Return why no trigger may make a run now, in a sentence; empty when one may."""
    wait_us = past.ended_us + budget.cooldown_us - now_us
    if past.ended_us and wait_us > 0:
        return f"the cooldown after the last run lasts {lasting(wait_us)} more"
    recent = sum(made > now_us - DAY_US for made in past.triggered_us)
    if recent >= budget.runs_per_day:
        return f"triggers have made {recent} runs in the last 24 hours, as many as the budget lets them"
    return ""
