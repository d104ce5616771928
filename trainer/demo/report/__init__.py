"""The report of the demo: on the terminal, and as one HTML file with its plots inside."""
