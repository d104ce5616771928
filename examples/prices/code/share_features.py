"""The features of a share in Python: a function takes the sources as Arrow tables by name, and gives one."""

import numpy as np
import pyarrow as pa

DAYS = 20


def share(prices: pa.Table) -> pa.Table:
    """Return for each symbol and day the mean price of 20 days, and the z-score of the day's volume among theirs."""
    ordered = prices.sort_by([("symbol", "ascending"), ("closed_at", "ascending")])
    symbols = np.array(ordered.column("symbol").to_pylist())
    starts = np.flatnonzero(np.r_[True, symbols[1:] != symbols[:-1]])
    means, scores = [], []
    for close, volume in zip(*(_split(ordered, name, starts) for name in ("close", "volume")), strict=True):
        means.append(_means(close))
        deviation = np.sqrt(np.maximum(_means(volume**2) - _means(volume) ** 2, 0) * DAYS / (DAYS - 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            score = (volume - _means(volume)) / deviation
        scores.append(np.where(deviation > 0, score, np.nan))
    return pa.table(
        {
            "symbol": ordered.column("symbol"),
            "event_time": ordered.column("closed_at"),
            "price_sma_20": pa.array(np.concatenate(means), from_pandas=True),  # NaN becomes null: there is no value
            "volume_zscore": pa.array(np.concatenate(scores), from_pandas=True),
        }
    )


def _split(table: pa.Table, name: str, starts: np.ndarray) -> list[np.ndarray]:
    return np.split(table.column(name).to_numpy().astype(np.float64), starts[1:])


def _means(values: np.ndarray) -> np.ndarray:
    """Return the mean of each value and the 19 before it; NaN before there are 20."""
    means = np.full(len(values), np.nan)
    if len(values) >= DAYS:
        means[DAYS - 1 :] = np.lib.stride_tricks.sliding_window_view(values, DAYS).mean(axis=1)
    return means
