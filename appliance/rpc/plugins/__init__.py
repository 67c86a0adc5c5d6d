"""Executable plugins: which there are, what they offer, and calling them. Knows nothing of HTTP."""
