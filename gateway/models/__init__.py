"""Loaded versions: sessions, leases, loading."""
