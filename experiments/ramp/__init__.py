"""Ramps: how an experiment's candidate gets more and more of the traffic, as long as nothing gets worse."""
