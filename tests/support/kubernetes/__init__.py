"""A double of the Kubernetes API server: what the product uses of it, as version 1.20 answers it.

It is a process of its own (`python -m tests.support.kubernetes FOLDER`) with TLS, tokens, client certificates and
rights, which keeps its objects in memory and runs the containers of pods as local programs.
`tests/real/kubernetes/test_likeness.py` holds it against a real server; what that table does not ask is not known to be
alike.

`double.py` starts one; `cluster.py` is what tests get, whether it is the double or a real one; `passage.py` makes it
reachable from another network namespace. The rest is the inside of the process.
"""
