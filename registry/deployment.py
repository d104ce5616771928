"""How a version is run: the settings of its session. Light to import: what serves predictions reads them too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import DeploymentInvalidError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CPU = "CPUExecutionProvider"
GRAPH_OPTIMIZATIONS = ("none", "basic", "extended", "all")
THREADS_MAX = 256
STACK_ROWS_MAX = 64
WARM_UPS_MAX = 16
WARM_UP_ELEMENTS_MAX = 1 << 24

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""The shape of each input of one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The settings of a session; the defaults are what small models on CPU want.

    Attributes
    ----------
    intra_op_threads, inter_op_threads
        Threads within an operator, and between operators. They never spin.
    arena
        Whether freed memory is kept for the next run, until the session ends.
    execution_providers
        What runs the graph, the most wanted first.
    graph_optimization
        How far the graph is rewritten at load: one of `GRAPH_OPTIMIZATIONS`.
    warm_up
        Shapes that are run at load, beside the probe rows.
    stack_rows_max
        How many rows of waiting calls may run together; 1 turns that off. Nobody waits for more.
    stack_tolerance
        The largest difference, relative and absolute, by which rows that run together may differ from rows that run
        alone; 0 allows no other bit.
    """

    intra_op_threads: int = 1
    inter_op_threads: int = 1
    arena: bool = False
    execution_providers: tuple[str, ...] = (CPU,)
    graph_optimization: str = "all"
    warm_up: tuple[Shapes, ...] = ()
    stack_rows_max: int = STACK_ROWS_MAX
    stack_tolerance: float = 0.0

    def to_document(self) -> dict[str, Any]:
        """Return the settings as JSON keeps them."""
        return asdict(self) | {
            "execution_providers": list(self.execution_providers),
            "warm_up": [{name: list(shape) for name, shape in shapes} for shapes in self.warm_up],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Deployment:
        """Return the settings that `to_document` wrote."""
        return cls(
            **{
                **document,
                "execution_providers": tuple(document["execution_providers"]),
                "warm_up": tuple(
                    tuple((name, tuple(shape)) for name, shape in shapes.items()) for shapes in document["warm_up"]
                ),
            }
        )


def checked(deployment: Deployment, *, providers: Collection[str] = ()) -> Deployment:
    """Return the settings, or raise DeploymentInvalidError.

    Parameters
    ----------
    providers
        The execution providers that there are; empty when that is not known, which leaves it to the load.
    """
    for field in ("intra_op_threads", "inter_op_threads"):
        _within(field, getattr(deployment, field), 1, THREADS_MAX)
    _within("stack_rows_max", deployment.stack_rows_max, 1, STACK_ROWS_MAX)
    if not 0.0 <= deployment.stack_tolerance <= 1.0:
        raise DeploymentInvalidError("stack_tolerance is a number from 0 to 1", field="stack_tolerance")
    if deployment.graph_optimization not in GRAPH_OPTIMIZATIONS:
        raise DeploymentInvalidError(
            f"graph_optimization is one of {', '.join(GRAPH_OPTIMIZATIONS)}", field="graph_optimization"
        )
    unknown = [each for each in deployment.execution_providers if providers and each not in providers]
    if unknown or not deployment.execution_providers:
        raise DeploymentInvalidError(
            f"there is no execution provider {', '.join(unknown) or 'named'}; this build has "
            f"{', '.join(sorted(providers)) or CPU}",
            field="execution_providers",
        )
    _within("warm_up", len(deployment.warm_up), 0, WARM_UPS_MAX)
    for shapes in deployment.warm_up:
        for name, shape in shapes:
            elements = 1
            for extent in shape:
                _within(f"an extent of the warm-up of {name!r}", extent, 1, WARM_UP_ELEMENTS_MAX)
                elements *= extent
            _within(f"the elements of the warm-up of {name!r}", elements, 1, WARM_UP_ELEMENTS_MAX)
    return deployment


def _within(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise DeploymentInvalidError(f"{field} is a number from {low} to {high}, not {value}", field=field)
