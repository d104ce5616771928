"""The trainer's process: claims checks and runs over the contract, and performs them in children with a budget."""
