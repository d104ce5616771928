"""The edge: the contract's bytes and statuses."""
