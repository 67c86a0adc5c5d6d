"""The rpc surface: executable plugins called with JSON."""
