"""`/metrics`: what the server and the machine have counted, for a monitoring system that asks every so often."""
