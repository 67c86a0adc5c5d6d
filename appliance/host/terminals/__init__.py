"""Terminals: shells of users on pseudo-terminals, which outlive a lost connection for a while."""
