"""Reports: read results only, never a network."""
