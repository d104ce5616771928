"""The server: data-plane workers, control plane, journal."""
