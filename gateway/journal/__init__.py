"""The journal: what was predicted and what happened, never lost."""
