"""Disks and what is on them: looked at, mounted, formatted."""
