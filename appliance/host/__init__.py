"""What this machine is and does: network, storage, users, journal, figures. Knows nothing of HTTP."""
