"""The WebSockets of the system surface: who speaks, what is said in which order, and how far behind a reader is."""
