"""Stand-alone programs for the scripts: standard library only, run as `python -I -S FILE`."""
