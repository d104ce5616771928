"""Experiments: definitions, assignment, analysis, decision. A library: no wire, no processes."""
