"""One version: what it is, what it takes and gives, what was said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from features.profile import Profile
from gateway.web.html import Html, badge, el, facts, join, link, section, table
from gateway.web.page import FormError, Page, href
from gateway.web.words import bytes_text, crumb, time_of, version_link
from turnout import resources
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.report.words import enum_words
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.web.page import Visit

_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def show(visit: Visit) -> Html:
    """Return the page of a version."""
    model, number = visit.params["model"], visit.params["version"]
    if not number.isascii() or not number.isdigit():
        raise FormError(f"{number[:40]!r} is no version's number")
    version = visit.registry.GetVersion(pb.GetVersionRequest(name=f"models/{model}/versions/{number}")).version
    aliases = [
        badge(each.alias, "main" if each.alias == "champion" else "")
        for each in visit.registry.GetModel(pb.GetModelRequest(name=resources.model_name(model))).model.aliases
        if each.version == version.version
    ]
    said = version.facts
    return join(
        crumb(link("/models", "Models"), link(href("models", model), model)),
        el("h1", f"{model}, version {number} ", el("span", aliases, class_="badges")),
        el("p", version.description or said.description, class_="soft"),
        el("p", f"Deprecated: {version.deprecated_reason}", class_="bad") if version.deprecated_reason else None,
        _facts(model, version),
        section("Signature", _ports("Inputs", version.inputs), _ports("Outputs", version.outputs)),
        section("Metrics at training", _numbers(said)),
        section(
            "Importance",
            _importance(said.importance_json),
            note="By how much the loss on held-out rows grows when a feature's values are permuted.",
        ),
        section("Training rows", _profile(said.profile_json), note="What the features were like that it learned from."),
        section("Parameters", table("Parameters of the fit", ("Parameter", "Value"), sorted(said.parameters.items()))),
        section(
            "Parity", _parity(said.parity_json), note="How closely the outputs agree with those of what was exported."
        ),
    )


def _facts(model: str, version: pb.Version) -> Html:
    said = version.facts
    parents = [[version_link(model, parent), " "] for parent in said.parents]
    return facts(
        (
            ("Stage", enum_words(pb.Stage, version.stage)),
            ("Algorithm", said.algorithm),
            ("Framework", said.framework),
            ("Feature set", said.feature_set),
            ("Dataset", said.dataset),
            ("Trained from", parents or None),
            ("Published", time_of(version.create_time_us)),
            ("By", version.create_actor),
            ("Signed by", version.signed_by),
            ("Probe rows", version.probe_rows or None),
            ("Size", bytes_text(version.artifact_bytes)),
            ("SHA-256", el("code", version.artifact_sha256)),
        )
    )


def _ports(caption: str, specs: Iterable[tensor_pb2.TensorSpec]) -> Html:
    rows = [
        (
            each.name,
            enum_words(tensor_pb2.DataType, each.data_type),
            "[" + ", ".join("any" if extent < 0 else str(extent) for extent in each.shape) + "]",
        )
        for each in specs
    ]
    return table(caption, ("Name", "Type", "Shape"), rows)


def _numbers(said: pb.VersionFacts) -> Html:
    rows = [(name, f"{value:.6g}") for name, value in sorted(said.metrics.items())]
    return table("Metrics that the trainer gave", ("Metric", "Value"), rows, numbers=(1,))


def _parity(text: str) -> Html:
    try:
        certificate = json.loads(text) if text else {}
    except ValueError:
        return el("pre", text)
    plain = [(key, value) for key, value in certificate.items() if isinstance(value, (str, int, float))]
    return facts((key.replace("_", " "), value) for key, value in plain)


def _importance(text: str) -> Html | None:
    said = _read(text)
    rows = [
        (
            one["feature"],
            f"{one['increase']:.4g}",
            f"{one['standard_error']:.2g}",
            "" if one.get("native") is None else f"{one['native']:.4g}",
        )
        for one in said.get("features", ())
    ]
    native = said.get("native_kind") or "its own"
    caption = f"{said.get('metric')} is {said.get('loss', 0):.4g} on {said.get('rows')} rows" if rows else ""
    return table(caption, ("Feature", "Grows by", "Standard error", native), rows, numbers=(1, 2, 3)) if rows else None


def _profile(text: str) -> Html | None:
    said = _read(text)
    if not said:
        return None
    profile = Profile.from_document(said)
    rows = [
        (
            name,
            f"{column.null_rate:.2%}",
            *(
                f"{number:.5g}"
                for number in (
                    column.moments.mean,
                    column.moments.deviation,
                    *(column.sketch.quantile(part) for part in _PARTS),
                )
            ),
        )
        for name, column in profile.columns.items()
    ]
    heads = ("Column", "Missing", "Mean", "Deviation", "Least", "Quarter", "Median", "Three quarters", "Greatest")
    return table(f"{profile.rows} rows", heads, rows, numbers=tuple(range(1, len(heads))))


def _read(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, an empty one for none."""
    said: dict[str, Any] = json.loads(text) if text else {}
    return said


PAGE = Page(
    path="/models/{model}/versions/{version}",
    title=lambda visit: f"{visit.params['model']}, version {visit.params['version']}",
    show=show,
    under="/models",
)
