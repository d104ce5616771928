"""Run the demo: `python -m trainer.demo`, which `turnout demo` is."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from storage.errors import DomainError
from trainer.demo.report.page import page
from trainer.demo.report.terminal import print_report
from trainer.demo.scale import SCALES
from trainer.demo.screen import Screen
from trainer.demo.story import tell
from trainer.demo.year import page as year_page
from trainer.demo.year.plan import YEAR
from trainer.demo.year.result import Result as YearResult
from trainer.demo.year.story import tell as tell_year
from turnout.errors import TurnoutError

if TYPE_CHECKING:
    from trainer.demo.result import Result

_HTML = Path("demo-report/index.html")
_YEAR = "year"


def main(arguments: list[str]) -> int:
    """Run the demo and return 0 when all that it promises came true, else 1."""
    parser = argparse.ArgumentParser(prog="turnout demo", description=__doc__)
    parser.add_argument("--json", type=Path, help="write what was found into this file")
    parser.add_argument("--html", type=Path, default=_HTML, help="write the report into this file")
    parser.add_argument("--scale", choices=[*SCALES, _YEAR], default="small", help="how much of 2013 is replayed")
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
                result = _told(given.scale, state.resolve(), screen)
        except (DomainError, TurnoutError) as error:
            console.print(f"[red]the demo failed:[/red] {error}", highlight=False)
            return 1
    given.html.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(result, YearResult):
        year_page.print_report(console, result)
        given.html.write_text(year_page.page(result), encoding="utf-8")
    else:
        print_report(console, result)
        given.html.write_text(page(result), encoding="utf-8")
    console.print(f"The report with its plots: {given.html.resolve()}", highlight=False, soft_wrap=True)
    if given.json is not None:
        given.json.write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    return 1 if result.broken_promises() else 0


def _told(scale: str, state: Path, screen: Screen) -> Result | YearResult:
    """Run the demo of a scale."""
    return tell_year(YEAR, state, screen) if scale == _YEAR else tell(SCALES[scale], state, screen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
