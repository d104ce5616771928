"""`turnout status`: what each worker serves."""

from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name


def status(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show the gateway's revision and what each of its workers serves."""
    with options.control(server) as connection:
        answer = connection.admin.GetServingStatus(pb.GetServingStatusRequest())
    facts = [
        ("turnout", answer.turnout_version),
        ("revision", answer.revision),
        ("clock", literals.format_time(answer.now_us)),
    ]
    workers = [
        (one.slot, one.pid, one.ready, one.transport, one.revision, one.restarts, _versions(one))
        for one in answer.workers
    ]
    columns = ("slot", "pid", "ready", "transport", "revision", "restarts", "versions")
    show.emit(
        document_of(answer),
        lambda: (show.facts("Gateway", facts), show.table("Workers", columns, workers)),
        as_json=as_json,
    )


def _versions(worker: pb.Worker) -> str:
    return ", ".join(
        f"{one.model}/{one.version} {enum_name(pb.LoadState.DESCRIPTOR, one.state)}"
        + (f" ({one.reason})" if one.reason else "")
        for one in worker.versions
    )
