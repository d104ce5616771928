"""Models, immutable versions, aliases and artifacts. A library: no wire, no processes."""
