"""Training: a client of the contract that makes, proves and publishes versions."""
