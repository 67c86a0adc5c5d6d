"""
The lazy boundary of this package: SQLAlchemy is loaded by the database thread, when it runs its first function.

It takes 14 MB and a fifth of a second, and opening the file needs none of it. So `thread`, `audit` and `nonces`,
which the server imports at its start, name the modules with the engine and the statements through a `LazyModule`
each, and call them nowhere but in functions that run in the database thread; that thread pays for the import
while the reactor goes on serving. No other module that the server imports may import SQLAlchemy, which a test
watches.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for the functions and classes of the module `name`, which is imported when the first is called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            return getattr(import_module(self._name), attribute)(*arguments, **keywords)

        return call
