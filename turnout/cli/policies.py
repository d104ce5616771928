"""`turnout policies`: when a model is trained anew, and what its triggers say."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import plain, resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.paging import all_pages
from turnout.cli.policy_file import read_policy
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

app = typer.Typer(help="Train models anew when there is cause to.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The policy's name.")]
File = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The policy as TOML.", show_default=False)
]
_FIELDS = (
    "model",
    "description",
    "check",
    "triggers",
    "data",
    "training",
    "evaluation",
    "deployment",
    "notifications",
    "budget",
)
_EVIDENCE = ("trigger", "verdict", "why", "runs", "blessed")
_POLL_S = 0.2


@app.command()
def create(file: File, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Create the policy of a file."""
    request = read_policy(file)
    with options.control(server) as connection:
        policy = connection.training.CreatePolicy(request).policy
    show.emit(document_of(policy), lambda: [show.facts("Created", _facts(policy))], as_json=as_json)


@app.command()
def update(
    file: File,
    *,
    etag: Annotated[str, typer.Option("--etag", help="Refuse when the policy has another one by now.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Replace a policy by what a file says; runs that were made before go on as they were."""
    asked = read_policy(file)
    policy = asked.policy
    policy.name, policy.etag = resources.policy_name(asked.policy_id), etag
    request = pb.UpdatePolicyRequest(policy=policy, update_mask=FieldMask(paths=_FIELDS))
    with options.control(server) as connection:
        policy = connection.training.UpdatePolicy(request).policy
    show.emit(document_of(policy), lambda: [show.facts("Updated", _facts(policy))], as_json=as_json)


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the policies."""
    with options.control(server) as connection:
        found = all_pages(connection.training.ListPolicies, pb.ListPoliciesRequest(), "policies")
    rows = [
        (
            resources.policy_id(one.name),
            resources.model_id(one.model),
            _learner(one),
            ", ".join(_kinds(one)),
            _mode(one),
            "paused" if one.paused else literals.format_time(one.next_check_us),
        )
        for one in found
    ]
    columns = ("name", "model", "learns by", "triggers", "deployment", "next check")
    show.emit(
        {"policies": [document_of(one) for one in found]},
        lambda: [show.table("Policies", columns, rows)],
        as_json=as_json,
    )


@app.command("show")
def show_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show a policy."""
    with options.control(server) as connection:
        policy = connection.training.GetPolicy(pb.GetPolicyRequest(name=resources.policy_name(name))).policy
    show.emit(document_of(policy), lambda: [show.facts(name, _facts(policy))], as_json=as_json)


@app.command()
def pause(
    name: Name,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Keep a policy from checks and runs."""
    request = pb.PausePolicyRequest(name=resources.policy_name(name), reason=reason)
    with options.control(server) as connection:
        policy = connection.training.PausePolicy(request).policy
    show.emit(document_of(policy), lambda: [f"{name} is paused"], as_json=as_json)


@app.command()
def resume(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Let a paused policy go on."""
    with options.control(server) as connection:
        request = pb.ResumePolicyRequest(name=resources.policy_name(name))
        policy = connection.training.ResumePolicy(request).policy
    show.emit(document_of(policy), lambda: [f"{name} goes on"], as_json=as_json)


@app.command()
def delete(
    name: Name,
    *,
    etag: Annotated[str, typer.Option("--etag", help="Refuse when the policy has another one by now.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Remove a policy with its checks and runs; what was published stays."""
    with options.control(server) as connection:
        request = pb.DeletePolicyRequest(name=resources.policy_name(name), etag=etag)
        answer = connection.training.DeletePolicy(request)
    show.emit(document_of(answer), lambda: [f"{name} is gone"], as_json=as_json)


@app.command()
def check(
    name: Name,
    *,
    wait: Annotated[float, typer.Option("--wait", min=0, help="How many seconds to wait for a trainer.")] = 60,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Let a trainer look at a policy's triggers, and show what each says; no run is made."""
    with options.control(server) as connection:
        request = pb.CheckTriggersRequest(name=resources.policy_name(name))
        found = connection.training.CheckTriggers(request).check
        until = time.monotonic() + wait
        while not found.done and time.monotonic() < until:
            time.sleep(_POLL_S)
            found = connection.training.GetCheck(pb.GetCheckRequest(name=found.name)).check
    show.emit(document_of(found), lambda: _check_parts(found), as_json=as_json)


@app.command()
def checks(
    name: Name,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 20,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List what a policy's triggers said, newest first."""
    with options.control(server) as connection:
        request = pb.ListChecksRequest(parent=resources.policy_name(name), page_size=limit)
        found = connection.training.ListChecks(request).checks
    rows = [
        (
            resources.parse_check(one.name)[1],
            literals.format_time(one.create_time_us),
            "look" if one.dry_run else "check",
            _verdict(one.verdict) if one.done else "waits",
            one.run,
            one.sentence,
        )
        for one in found
    ]
    columns = ("number", "made", "what", "verdict", "run", "why")
    show.emit(
        {"checks": [document_of(one) for one in found]},
        lambda: [show.table("Checks", columns, rows)],
        as_json=as_json,
    )


def _check_parts(found: run_pb2.Check) -> list[Any]:
    if not found.done:
        return [f"{found.name} waits for a trainer: is one running?"]
    rows = [
        (
            enum_name(policy_pb2.TriggerKind.DESCRIPTOR, one.kind).lower(),
            _verdict(one.verdict),
            one.sentence,
            one.runs,
            one.blessed,
        )
        for one in found.evidence
    ]
    return [show.table(f"{_verdict(found.verdict)}: {found.sentence}", _EVIDENCE, rows)]


def _facts(policy: policy_pb2.Policy) -> list[tuple[str, Any]]:
    data = policy.data
    return [
        ("name", policy.name),
        ("model", policy.model),
        ("description", policy.description),
        (
            "checked",
            policy.check.cron or (_span(policy.check.interval_us) if policy.check.interval_us else "when asked"),
        ),
        ("triggers", [f"{kind}" for kind in _kinds(policy)]),
        ("features", data.feature_set),
        ("window", _span(data.window_us) if data.window_us else "all"),
        ("label delay", _span(data.label_delay_us)),
        ("learns by", _learner(policy)),
        ("deployment", _mode(policy)),
        ("cooldown", _span(policy.budget.cooldown_us)),
        ("paused", policy.pause_reason or "yes" if policy.paused else "no"),
        ("next check", literals.format_time(policy.next_check_us)),
        ("etag", policy.etag),
        ("created", literals.format_time(policy.create_time_us)),
        ("by", policy.create_actor),
    ]


def _learner(policy: policy_pb2.Policy) -> str:
    return policy.training.script or policy.training.estimator.path


def _kinds(policy: policy_pb2.Policy) -> list[str]:
    return [plain.short_name(policy_pb2.TriggerKind.DESCRIPTOR, one.kind) for one in policy.triggers]


def _mode(policy: policy_pb2.Policy) -> str:
    return enum_name(policy_pb2.DeploymentMode.DESCRIPTOR, policy.deployment.mode).lower()


def _verdict(number: int) -> str:
    return enum_name(run_pb2.TriggerVerdict.DESCRIPTOR, number)


def _span(time_us: int) -> str:
    for letter, unit_us in (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000)):
        if time_us and time_us % unit_us == 0:
            return f"{time_us // unit_us}{letter}"
    return f"{time_us / 1e6:g}s"
