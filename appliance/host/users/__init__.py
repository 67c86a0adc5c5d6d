"""The users of this machine: listing them, making, changing and removing them by the system's own tools."""
