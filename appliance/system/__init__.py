"""The system surface, /api/v1: the host itself."""
