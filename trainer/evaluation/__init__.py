"""Evaluation: whether a candidate has earned its traffic, told by the rows that neither model has learned from."""
