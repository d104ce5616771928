"""Policies, checks and runs of training as records: a library for the control plane, without what trains."""
