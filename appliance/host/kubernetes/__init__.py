"""Kubernetes: which cluster is spoken to, as whom, and what is asked of it."""
