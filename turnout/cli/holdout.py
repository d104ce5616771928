"""`turnout experiments holdout`: the part of a model's units that no experiment may have."""

from typing import Annotated

import typer

from turnout import resources
from turnout.cli import options, show
from turnout.cli.document import document_of
from turnout.cli.experiments import app
from turnout.experiments.v1 import experiment_service_pb2 as pb


@app.command()
def holdout(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    share: Annotated[float | None, typer.Option("--share", help="Hold this part of its units out; 0: none.")] = None,
    *,
    etag: Annotated[str, typer.Option("--etag", help="The etag that you have seen; refused when it changed.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show or set the part of a model's units that is held out of all experiments: they always get the champion."""
    name = resources.model_name(model)
    with options.control(server) as connection:
        if share is None:
            found = document_of(connection.experiments.GetHoldout(pb.GetHoldoutRequest(model=name)))
        else:
            request = pb.SetHoldoutRequest(model=name, share=share, etag=etag)
            found = document_of(connection.experiments.SetHoldout(request))
    show.emit(found, lambda: [show.facts(f"Held out of {name}", found.items())], as_json=as_json)
