"""Resource names: the one place that makes and parses them.

=============================== ================================
``models/{model}``              a model
``models/{model}/versions/{n}`` a version, ``n`` from 1
``models/{model}/shadow``       a model's shadow
``experiments/{experiment}``    an experiment
``featureViews/{view}``         a feature view
``featureSets/{set}``           a feature set
``webhooks/{webhook}``          a webhook
``policies/{policy}``           a policy of training
``policies/{policy}/runs/{n}``  one of its runs; ``checks`` likewise
=============================== ================================

An id is 1 to 63 of ``a-z``, ``0-9``, ``-`` and ``_``, and begins with a letter.
"""

from __future__ import annotations

import re

_ID = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

ID_RULE = "1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter"


class ResourceNameError(ValueError):
    """A resource name does not have the form of its kind."""


def is_id(text: str) -> bool:
    """Return whether the text may be an id."""
    return _ID.fullmatch(text) is not None


def model_name(model: str) -> str:
    """Return ``models/{model}``, or raise ResourceNameError when it is not an id."""
    return _name("models", model)


def model_id(name: str) -> str:
    """Return the id in ``models/{model}``, or raise ResourceNameError."""
    return _id("models", "model", name)


def version_name(model: str, version: int) -> str:
    """Return ``models/{model}/versions/{version}``, or raise ResourceNameError."""
    if version < 1:
        raise ResourceNameError(f"a version number is at least 1, not {version}")
    return f"{model_name(model)}/versions/{version}"


def parse_version(name: str) -> tuple[str, int]:
    """Return the model's id and the number in ``models/{model}/versions/{version}``, or raise ResourceNameError."""
    parts = name.split("/")
    if len(parts) != len(("models", "{model}", "versions", "{version}")) or parts[2] != "versions":
        raise ResourceNameError(
            f"{name!r} is not the name of a version: expected models/{{model}}/versions/{{version}}"
        )
    if _NUMBER.fullmatch(parts[3]) is None:
        raise ResourceNameError(f"{parts[3]!r} in {name!r} is not a version number: expected 1, 2, 3 ...")
    return model_id("/".join(parts[:2])), int(parts[3])


def shadow_name(model: str) -> str:
    """Return ``models/{model}/shadow``, or raise ResourceNameError when it is not an id."""
    return f"{model_name(model)}/shadow"


def shadow_model(name: str) -> str:
    """Return the model's id in ``models/{model}/shadow``, or raise ResourceNameError."""
    parent, _, last = name.rpartition("/")
    if last != "shadow":
        raise ResourceNameError(f"{name!r} is not the name of a shadow: expected models/{{model}}/shadow")
    return model_id(parent)


def experiment_name(experiment: str) -> str:
    """Return ``experiments/{experiment}``, or raise ResourceNameError when it is not an id."""
    return _name("experiments", experiment)


def experiment_id(name: str) -> str:
    """Return the id in ``experiments/{experiment}``, or raise ResourceNameError."""
    return _id("experiments", "experiment", name)


def view_name(view: str) -> str:
    """Return ``featureViews/{view}``, or raise ResourceNameError when it is not an id."""
    return _name("featureViews", view)


def view_id(name: str) -> str:
    """Return the id in ``featureViews/{view}``, or raise ResourceNameError."""
    return _id("featureViews", "view", name)


def set_name(feature_set: str) -> str:
    """Return ``featureSets/{set}``, or raise ResourceNameError when it is not an id."""
    return _name("featureSets", feature_set)


def set_id(name: str) -> str:
    """Return the id in ``featureSets/{set}``, or raise ResourceNameError."""
    return _id("featureSets", "set", name)


def webhook_name(webhook: str) -> str:
    """Return ``webhooks/{webhook}``, or raise ResourceNameError when it is not an id."""
    return _name("webhooks", webhook)


def webhook_id(name: str) -> str:
    """Return the id in ``webhooks/{webhook}``, or raise ResourceNameError."""
    return _id("webhooks", "webhook", name)


def policy_name(policy: str) -> str:
    """Return ``policies/{policy}``, or raise ResourceNameError when it is not an id."""
    return _name("policies", policy)


def policy_id(name: str) -> str:
    """Return the id in ``policies/{policy}``, or raise ResourceNameError."""
    return _id("policies", "policy", name)


def run_name(policy: str, number: int) -> str:
    """Return ``policies/{policy}/runs/{number}``, or raise ResourceNameError."""
    return f"{policy_name(policy)}/runs/{number}"


def parse_run(name: str) -> tuple[str, int]:
    """Return the policy's id and the number in ``policies/{policy}/runs/{number}``, or raise ResourceNameError."""
    return _numbered("policies", "runs", name)


def check_name(policy: str, number: int) -> str:
    """Return ``policies/{policy}/checks/{number}``, or raise ResourceNameError."""
    return f"{policy_name(policy)}/checks/{number}"


def parse_check(name: str) -> tuple[str, int]:
    """Return the policy's id and the number in ``policies/{policy}/checks/{number}``, or raise ResourceNameError."""
    return _numbered("policies", "checks", name)


def _numbered(collection: str, below: str, name: str) -> tuple[str, int]:
    parts = name.split("/")
    if len(parts) != len((collection, "{id}", below, "{number}")) or (parts[0], parts[2]) != (collection, below):
        raise ResourceNameError(
            f"{name!r} is not a resource name of its kind: expected {collection}/{{id}}/{below}/{{number}}"
        )
    if _NUMBER.fullmatch(parts[3]) is None or not is_id(parts[1]):
        raise ResourceNameError(
            f"{name!r} is not a resource name of its kind: expected {collection}/{{id}}/{below}/1, 2 ..."
        )
    return parts[1], int(parts[3])


def _name(collection: str, identity: str) -> str:
    if not is_id(identity):
        raise ResourceNameError(f"{identity!r} is not an id: expected {ID_RULE}")
    return f"{collection}/{identity}"


def _id(collection: str, kind: str, name: str) -> str:
    head, slash, identity = name.partition("/")
    if head != collection or not slash:
        raise ResourceNameError(f"{name!r} is not a resource name of its kind: expected {collection}/{{{kind}}}")
    if not is_id(identity):
        raise ResourceNameError(f"{identity!r} in {name!r} is not an id: expected {ID_RULE}")
    return identity
