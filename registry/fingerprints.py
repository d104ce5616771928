"""The parts of a fingerprint: what of it says that data, or code, are the same."""

from __future__ import annotations


def parts_of(fingerprint: str) -> list[str]:
    """Return the fingerprint and its parts, which are set apart by spaces; nothing when it is empty."""
    return list(dict.fromkeys([fingerprint, *fingerprint.split()])) if fingerprint else []


def data_of(fingerprint: str) -> str:
    """Return the part that says which rows they are, whatever was asked for and when; all of it where none does."""
    return next((part for part in fingerprint.split() if part.startswith("table:")), fingerprint)


def code_of(fingerprint: str) -> str:
    """Return a fingerprint of code without that of the graph that came out: another one comes of other data too."""
    return " ".join(part for part in fingerprint.split() if not part.startswith("onnx:"))
