"""Names that no other test has: a namespace that is being deleted refuses all that is new in it."""

import secrets

from tests.support.kubernetes.cluster import Cluster


def new_name(word: str) -> str:
    """A name that begins with a word."""
    return f"{word}-{secrets.token_hex(3)}"


def namespace_of(cluster: Cluster, word: str) -> str:
    """A new namespace, which is deleted at the test's end."""
    return cluster.namespace(new_name(word))
