"""Run the demo: `python -m trainer.demo`, which `turnout demo` is."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from storage.errors import DomainError
from trainer.demo.report.page import page
from trainer.demo.report.terminal import print_report
from trainer.demo.scale import SCALES
from trainer.demo.screen import Screen
from trainer.demo.story import tell
from turnout.errors import TurnoutError

_HTML = Path("demo-report/index.html")


def main(arguments: list[str]) -> int:
    """Run the demo and return 0 when all that it promises came true, else 1."""
    parser = argparse.ArgumentParser(prog="turnout demo", description=__doc__)
    parser.add_argument("--json", type=Path, help="write what was found into this file")
    parser.add_argument("--html", type=Path, default=_HTML, help="write the report into this file")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="how much of 2013 is replayed")
    parser.add_argument("--state", type=Path, help="keep the state in this folder, which is empty")
    given = parser.parse_args(arguments)
    console = Console()
    with ExitStack() as stack:
        state = given.state
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnout-demo-")))
        elif state.exists() and any(state.iterdir()):
            parser.error(f"{state} is not empty")
        state.mkdir(parents=True, exist_ok=True)
        try:
            with Screen(console) as screen:
                result = tell(SCALES[given.scale], state.resolve(), screen)
        except (DomainError, TurnoutError) as error:
            console.print(f"[red]the demo failed:[/red] {error}", highlight=False)
            return 1
    print_report(console, result)
    given.html.parent.mkdir(parents=True, exist_ok=True)
    given.html.write_text(page(result), encoding="utf-8")
    console.print(f"The report with its plots: {given.html.resolve()}", highlight=False, soft_wrap=True)
    if given.json is not None:
        given.json.write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    return 1 if result.broken_promises() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
