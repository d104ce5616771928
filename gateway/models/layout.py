"""What the outputs of calls have in common: all but their elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LAYOUTS_MAX = 1024
"""How many layouts of one graph are remembered; one more forgets them all."""

Shape = tuple[int, ...]
TensorKind = tuple[str, str, Shape]
"""Name, element type and shape."""


class Layout:
    """The names, element types, shapes and lengths of the outputs of a call.

    It is compared by identity: what the journal and the edges make of a layout they keep under the layout itself.

    Attributes
    ----------
    tensors
        Name, element type and shape of each output.
    shapes
        The shapes alone.
    sizes
        The length of each in bytes.
    """

    __slots__ = ("shapes", "sizes", "tensors")

    def __init__(self, tensors: Sequence[TensorKind], sizes: Sequence[int]) -> None:
        self.tensors = tuple(tensors)
        self.shapes = tuple(shape for _, _, shape in tensors)
        self.sizes = tuple(sizes)


class Layouts:
    """The layouts of one graph's outputs, each made when it is first seen.

    Parameters
    ----------
    kinds
        Name and element type of each output, in the order of the graph.
    """

    __slots__ = ("_kinds", "_known")

    def __init__(self, kinds: Sequence[tuple[str, str]]) -> None:
        self._kinds = tuple(kinds)
        self._known: dict[tuple[tuple[Shape, ...], tuple[int, ...]], Layout] = {}

    def find(self, shapes: Iterable[Shape], sizes: Iterable[int]) -> Layout:
        """Return the layout of outputs of these shapes and lengths."""
        key = (tuple(shapes), tuple(sizes))
        layout = self._known.get(key)
        if layout is None:
            if len(self._known) >= LAYOUTS_MAX:
                self._known.clear()
            tensors = [(name, dtype, shape) for (name, dtype), shape in zip(self._kinds, key[0], strict=True)]
            layout = self._known[key] = Layout(tensors, key[1])
        return layout
