"""A load generator: many calls of a gateway at a rate or at a concurrency, and what became of them."""
