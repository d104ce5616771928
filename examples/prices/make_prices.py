"""Write a year of daily prices of a few made-up shares to a CSV file: `python make_prices.py FILE`."""

import sys
from pathlib import Path

import numpy as np

DAYS = 252
SYMBOLS = ("ALPN", "BREM", "CORV", "DUNE")
SEED = 7
BURSTS = 0.03


def main(path: str) -> None:
    """Write the file: a random walk each, and volumes with a burst now and then."""
    rng = np.random.default_rng(SEED)
    first = np.datetime64("2024-01-01")
    days = [first + np.timedelta64(7 * (day // 5) + day % 5, "D") for day in range(DAYS)]  # Monday to Friday
    lines = ["symbol,closed_at,close,volume"]
    for symbol in SYMBOLS:
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, DAYS)))
        volume = rng.lognormal(10, 0.4, DAYS) * np.where(rng.random(DAYS) < BURSTS, 5, 1)
        rows = zip(days, close, volume, strict=True)
        lines += [f"{symbol},{day} 16:00:00,{price:.4f},{int(traded)}" for day, price, traded in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
