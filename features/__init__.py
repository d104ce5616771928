"""Feature views and sets, training tables, online stores. A library: no wire, no processes."""
