"""The composition root: processes and what they are made of."""
