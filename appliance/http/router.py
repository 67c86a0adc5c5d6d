"""Finds the endpoint of a method and path: Klein keeps the routes, one Werkzeug adapter for good matches them."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from klein import Klein
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed
from werkzeug.exceptions import NotFound
from werkzeug.routing import RequestRedirect

from appliance.http.endpoints import Endpoint
from appliance.http.errors import MethodNotAllowed, not_found

_NO_PARAMETERS: Mapping[str, str] = {}


class Router:
    """The endpoints of one surface.

    Klein's own resource binds a new adapter for each request and leaves cyclic garbage behind; binding once and
    remembering paths without parameters costs a dictionary look-up instead.
    """

    def __init__(self, prefix: str, endpoints: Iterable[Endpoint]) -> None:
        self.app = Klein()
        self.app.url_map.merge_slashes = False
        self.app.url_map.strict_slashes = True
        self.endpoints: list[Endpoint] = list(endpoints)
        self._by_name: dict[str, Endpoint] = {}
        for endpoint in self.endpoints:
            name = f"{endpoint.method} {endpoint.path}"
            self.app.route(prefix + endpoint.path, methods=[endpoint.method], endpoint=name)(
                cast(Any, endpoint.handler)
            )
            self._by_name[name] = endpoint
        for rule in self.app.url_map.iter_rules():
            rule.methods = {self._by_name[_text(rule.endpoint)].method}  # without the HEAD that Werkzeug adds to GET
        self._adapter = self.app.url_map.bind("localhost")
        self._static: dict[tuple[str, str], Endpoint] = {}

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
        """Return the endpoint of `method` and decoded `path`, and the path's parameters.

        Raises a 404 for an unknown path and `MethodNotAllowed` for a known one without this method.
        """
        known = self._static.get((method, path))
        if known is not None:
            return known, _NO_PARAMETERS
        if path.startswith("//"):  # Werkzeug would strip them
            raise not_found()
        try:
            name, parameters = self._adapter.match(path, method)
        except WerkzeugMethodNotAllowed as error:
            declared = self._declared(path, error.valid_methods or ())
            if not declared:
                raise not_found() from None
            raise MethodNotAllowed(method, declared) from None
        except (NotFound, RequestRedirect):
            raise not_found() from None
        endpoint = self._by_name[_text(name)]
        if endpoint.method != method:  # Werkzeug takes `get` for GET
            raise MethodNotAllowed(method, frozenset({endpoint.method}))
        if not parameters:
            self._static[(method, path)] = endpoint
        return endpoint, {key: str(value) for key, value in parameters.items()}

    def _declared(self, path: str, methods: Iterable[str]) -> frozenset[str]:
        """Those of Werkzeug's `methods` of `path` that an endpoint declares.

        It adds HEAD to each GET, and names methods of routes whose converters do not take what the path holds.
        """
        return frozenset(method for method in methods if self._method_of(path, method) == method)

    def _method_of(self, path: str, method: str) -> str | None:
        try:
            return self._by_name[_text(self._adapter.match(path, method)[0])].method
        except (NotFound, WerkzeugMethodNotAllowed):
            return None


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"route endpoint {name!r} is not a name")
    return name
