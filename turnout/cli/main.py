"""The command line `turnout`: its nouns, and how it ends."""

import os
import sys
from typing import Annotated

try:
    import typer
except ModuleNotFoundError as error:  # the base install is the client alone
    raise SystemExit("turnout: the command line is not installed here: install turnout[cli]") from error

from turnout.cli import (  # noqa: F401  (they add commands to `models` and `experiments`)
    audit,
    config,
    demo,
    events,
    experiment_changes,
    experiment_report,
    experiment_watch,
    experiments,
    failures,
    feature_profile,
    feature_skew,
    features,
    holdout,
    load,
    model_changes,
    model_gates,
    model_publish,
    model_relations,
    model_watch,
    models,
    outcomes,
    policies,
    predict,
    predict_batch,
    ramp,
    registry,
    runs,
    serve,
    shadow,
    shadow_compare,
    status,
    tokens,
    train,
    trainer,
    webhooks,
)
from turnout.cli.connection import with_connection_options
from turnout.cli.literals import LiteralError
from turnout.errors import TurnoutError
from turnout.resources import ResourceNameError
from turnout.signing import KeyUnusableError

app = typer.Typer(
    name="turnout",
    help="Serve models, experiment with their versions, and say which one is better.",
    epilog="Exit codes: 0 done, 1 refused by the gateway, 2 wrong usage, 3 not reachable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _addresses(
    server: Annotated[str | None, typer.Option("--server", metavar="HOST:PORT", help="As on each command.")] = None,
    data_server: Annotated[
        str | None, typer.Option("--data-server", metavar="HOST:PORT", help="As on each command.")
    ] = None,
) -> None:
    """Take the addresses before the command too, as if the environment gave them; the command's own options win."""
    if server is not None:
        os.environ["TURNOUT_SERVER"] = server
    if data_server is not None:
        os.environ["TURNOUT_DATA_SERVER"] = data_server


app.command(
    "serve",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": True},
)(serve.serve)
app.add_typer(models.app, name="models")
app.add_typer(registry.app, name="registry")
app.add_typer(model_gates.taints, name="taints")
app.add_typer(features.app, name="features")
app.add_typer(experiments.app, name="experiments")
app.add_typer(shadow.app, name="shadow")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(policies.app, name="policies")
app.add_typer(runs.app, name="runs")
app.command("train")(train.train)
app.command("trainer")(trainer.trainer)
app.command("predict")(predict.predict)
app.command("predict-batch")(predict_batch.predict_batch)
app.command("load")(load.load)
app.add_typer(outcomes.app, name="outcomes")
app.add_typer(events.app, name="events")
app.command("status")(status.status)
app.command("top")(status.top)
app.command("gateways")(status.gateways)
app.add_typer(audit.app, name="audit")
app.add_typer(tokens.app, name="tokens")
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)


def main() -> None:
    """Run one command and exit: 0 done, 1 refused by the gateway, 2 wrong usage, 3 not reachable."""
    try:
        with_connection_options(typer.main.get_command(app))(prog_name="turnout")
    except TurnoutError as error:
        print(failures.explain(error), file=sys.stderr)  # noqa: T201  (this is the output)
        sys.exit(failures.exit_code(error))
    except (LiteralError, ResourceNameError, KeyUnusableError) as error:
        print(f"wrong usage: {error}", file=sys.stderr)  # noqa: T201  (this is the output)
        sys.exit(failures.USAGE)
