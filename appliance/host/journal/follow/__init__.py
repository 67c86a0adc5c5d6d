"""The log as it is written: backlog first, then each entry when it comes, to any number of listeners."""
