"""What people are told of changes: titles and bodies of messages, by a channel's templates."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.control.channels import Channel
    from storage.revision import Change

Key = tuple[str, str, str, str]

FIELD_CHARS_MAX = 1_000
TITLE_CHARS_MAX = 200
_WHAT = {
    "training.triggered": "a run was triggered",
    "training.started": "a run has started",
    "training.blessed": "version $version is blessed",
    "training.refused": "the candidate is refused",
    "training.deployed": "version $version is deployed",
    "training.rolled_back": "version $version is rolled back",
    "training.failed": "a run failed",
    "training.paused": "the policy is paused",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent."""

    title: str
    body: str


def key_of(change: Change) -> Key:
    """Return what two changes have in common that say the same: all but their run and their time."""
    fields = fields_of(change)
    about = fields["policy"] or fields["resource"]
    return change.kind, about, fields["why"], fields["version"]


def fields_of(change: Change) -> dict[str, str]:
    """Return what templates may name of a change."""
    detail = change.detail or {}
    findings = detail.get("findings")
    why = str(detail.get("reason") or "")
    if not why and isinstance(findings, list):
        why = "; ".join(map(str, findings))
    version = str(detail.get("version") or "")
    model = str(detail.get("model") or "") or _model_of(change.resource)
    what = Template(_WHAT.get(change.kind, change.kind)).safe_substitute(version=version)
    moment = dt.datetime.fromtimestamp(change.time_us / 1e6, dt.UTC)
    fields = {
        "model": model.removeprefix("models/") or "Turnout",
        "policy": str(detail.get("policy") or "").removeprefix("policies/"),
        "what": what,
        "why": why,
        "version": version,
        "resource": change.resource,
        "actor": change.actor,
        "time": f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        "event": str(change.revision),
    }
    return {name: value[:FIELD_CHARS_MAX] for name, value in fields.items()}


def compose(channel: Channel, changes: Sequence[Change]) -> Message:
    """Return one message of changes, the oldest first; those that say the same are said once, with how often."""
    groups: dict[Key, list[Change]] = {}
    for change in changes:
        groups.setdefault(key_of(change), []).append(change)
    parts = []
    for each in groups.values():
        fields = fields_of(each[-1])
        often = f"\n({len(each)} times)" if len(each) > 1 else ""
        lines = Template(channel.body).substitute(fields).splitlines()
        parts.append("\n".join(line for line in lines if line.strip()) + often)
    title = " ".join(Template(channel.title).substitute(fields_of(changes[0])).split())[:TITLE_CHARS_MAX]
    more = f", and {len(groups) - 1} more" if len(groups) > 1 else ""
    return Message(title + more, "\n\n".join(parts))


def _model_of(resource: str) -> str:
    parts = resource.split("/")
    return parts[1] if parts[0] == "models" and len(parts) > 1 else ""
