"""Triggers: whether a model should be trained anew, told by stored evidence. A library: no wire, no training."""
