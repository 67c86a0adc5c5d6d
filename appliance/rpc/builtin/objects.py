"""The objects that answer without a plugin, by name."""

from collections.abc import Mapping

import msgspec

from appliance.rpc.builtin.object import INVALID_ARGUMENT, Asker, BuiltinObject, Failed
from appliance.rpc.plugins.outcome import Outcome

PAYLOAD_LIMIT = 256 * 1024


class Builtins:
    """Calls them as plugins are called."""

    def __init__(self, objects: Mapping[str, BuiltinObject]) -> None:
        self._objects = objects
        self._encode = msgspec.json.Encoder().encode

    def objects(self) -> Mapping[str, Mapping[str, Mapping[str, object]]]:
        """Object → method → arguments, typed by example; without those that this machine cannot answer."""
        found = {name: each.methods() for name, each in self._objects.items()}
        return {name: methods for name, methods in found.items() if methods}

    def has(self, name: str) -> bool:
        """Whether the object is one of these, and can answer."""
        return name in self._objects and bool(self._objects[name].methods())

    async def call(self, name: str, method: str, payload: bytes, asker: Asker) -> Outcome:
        """Call a method of the object `name`, which `has` knows."""
        found = self._objects[name]
        if method not in found.methods():
            return Outcome("no_method")
        if len(payload) > PAYLOAD_LIMIT:
            return Outcome("exited", exit_code=INVALID_ARGUMENT)
        try:
            arguments = msgspec.json.decode(payload, type=dict[str, object])
            answer = await found.call(method, arguments, asker)
        except Failed as error:
            return Outcome("exited", exit_code=error.status)
        except msgspec.DecodeError:
            return Outcome("exited", exit_code=INVALID_ARGUMENT)
        return Outcome("exited", output=self._encode(answer))
