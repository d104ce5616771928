"""How long a promotion takes until every worker of three gateways serves it: told by Redis, and with Redis away.

``python bench/convergence.py [--promotions 100] [--workers 2]``. Real PostgreSQL, Redis and S3 server on this machine;
the clock starts when the promotion is acknowledged, and stops when all gateways have said that all workers serve it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "scale"))

from network import Loopback
from rig import Rig
from traffic import MODEL, furnish

from turnout.control import Control

GATEWAYS = 3


def main() -> None:
    """Measure both ways and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--promotions", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="turnout-convergence-"))
    rig = Rig(folder, gateways=GATEWAYS, network=Loopback(), flags=("--workers", str(asked.workers)))
    try:
        rig.start()
        furnish(rig, folder / "definitions")
        print(f"{GATEWAYS} gateways of {asked.workers} workers, {asked.promotions} promotions, milliseconds")
        show("told by Redis", measure(rig, asked.promotions))
        rig.pieces["redis"].kill()
        time.sleep(2)
        show("Redis away, by looking", measure(rig, asked.promotions))
    finally:
        rig.close()
        shutil.rmtree(folder, ignore_errors=True)


def measure(rig: Rig, promotions: int) -> list[float]:
    """Return how long each of so many promotions took, in milliseconds; each gateway makes its share of them."""
    controls = [Control(rig.control_address(name)) for name in rig.names]
    found = []
    with ThreadPoolExecutor(len(controls)) as pool:
        for number in range(promotions + 2):
            revision = controls[number % GATEWAYS].promote(MODEL, 1 + number % 2).revision
            began = time.perf_counter()
            list(pool.map(lambda each, wanted=revision: each.wait_for_revision(wanted), controls))
            found.append((time.perf_counter() - began) * 1000)
            time.sleep(0.02 + number % 10 * 0.03)  # at any moment between two looks
    for control in controls:
        control.close()
    return sorted(found[2:])  # the first ones load the versions


def show(name: str, found: list[float]) -> None:
    """Print the quantiles of what was found."""
    at = {f"p{place}": found[min(len(found) - 1, len(found) * place // 100)] for place in (50, 90, 99)}
    print(f"{name}: " + ", ".join(f"{key} {value:.0f}" for key, value in at.items()) + f", max {found[-1]:.0f}")


if __name__ == "__main__":
    main()
