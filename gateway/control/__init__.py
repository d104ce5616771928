"""The control plane: what changes and what is computed away from predictions."""
