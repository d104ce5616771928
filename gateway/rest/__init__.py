"""The data port's calls as HTTP and JSON."""
