"""What a gateway tells of itself: counters and their names, logs, traces."""
