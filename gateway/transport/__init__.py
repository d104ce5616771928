"""What takes calls off the network and puts answers on it."""
