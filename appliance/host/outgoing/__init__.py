"""Requests to other programs that speak HTTP: what a client of any of them needs."""
