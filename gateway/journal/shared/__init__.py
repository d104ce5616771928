"""The log of several gateways: what each of them ships, in one bucket, and what the others fetch of it."""
