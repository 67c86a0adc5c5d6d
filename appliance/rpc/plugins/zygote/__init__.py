"""The process that has Python ready; `start.py` is its program, standard library only."""
