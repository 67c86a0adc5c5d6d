"""Objects that answer without a plugin."""
