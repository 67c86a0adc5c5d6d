"""protobuf's classes for messages that are declared in Python.

A generated module does the same: it hands protobuf a description of the file it was made of. Made here, none has to be
kept in step with the library, and an installation without the extra needs no compiler. Importing this loads protobuf.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from appliance.host.containers.cri.v1 import PACKAGE, Fields

_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


def message_classes(declared: Mapping[str, Fields]) -> dict[str, Any]:
    """A class for each message in `declared`, by its name; a field's type may be any of them."""
    file = FileDescriptorProto(name="cri.proto", package=PACKAGE, syntax="proto3")
    for name, fields in declared.items():
        _declare(file.message_type.add(name=name), fields)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in declared}


def _declare(message: Any, fields: Fields) -> None:
    for name, (number, type) in fields.items():
        field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if type == "map":
            # The encoding of a map is that of repeated pairs; the name of their type is prescribed.
            entry = f"{''.join(part.capitalize() for part in name.split('_'))}Entry"
            pair: Any = DescriptorProto(name=entry)
            _declare(pair, {"key": (1, "string"), "value": (2, "string")})
            pair.options.map_entry = True
            message.nested_type.append(pair)
            type = f"repeated {message.name}.{entry}"
        if type.startswith("repeated "):
            field.label = FieldDescriptorProto.LABEL_REPEATED
            type = type.removeprefix("repeated ")
        if type in _SCALARS:
            field.type = _SCALARS[type]
        else:
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".{PACKAGE}.{type}"
