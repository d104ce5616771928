"""The command line, one module a noun; ``main`` puts them together."""
