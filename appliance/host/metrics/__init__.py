"""The machine's figures over time: read once for everybody, as long as somebody listens."""
