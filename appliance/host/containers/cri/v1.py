"""What is spoken of the Container Runtime Interface: methods, messages, fields and their numbers, and no more.

The names and numbers are those of `runtime.v1` in pkg/apis/runtime/v1/api.proto of https://github.com/kubernetes/cri-api
as of 0.36. A field that a runtime does not know yet, or does not set, reads as empty.
"""

from collections.abc import Mapping

PACKAGE = "runtime.v1"

Fields = Mapping[str, tuple[int, str]]
"""The fields of a message: number and type. `map` is one of strings to strings; an enumeration is an int32, which has
the same encoding."""

METHODS: Mapping[str, str] = {
    "Version": "RuntimeService",
    "ListContainers": "RuntimeService",
    "ContainerStatus": "RuntimeService",
    "StartContainer": "RuntimeService",
    "StopContainer": "RuntimeService",
    "RemoveContainer": "RuntimeService",
    "Exec": "RuntimeService",
    "ListImages": "ImageService",
}
"""The methods and their services; each takes a message of its name and `Request` and gives one with `Response`."""

MESSAGES: Mapping[str, Fields] = {
    "VersionRequest": {},
    "VersionResponse": {"runtime_name": (2, "string"), "runtime_version": (3, "string")},
    "ListContainersRequest": {},
    "ListContainersResponse": {"containers": (1, "repeated Container")},
    "Container": {
        "id": (1, "string"),
        "metadata": (3, "ContainerMetadata"),
        "image": (4, "ImageSpec"),
        "image_ref": (5, "string"),
        "state": (6, "int32"),
        "created_at": (7, "int64"),
        "labels": (8, "map"),
    },
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "uint32")},
    "ImageSpec": {"image": (1, "string"), "user_specified_image": (18, "string")},
    "ContainerStatusRequest": {"container_id": (1, "string"), "verbose": (2, "bool")},
    "ContainerStatusResponse": {"status": (1, "ContainerStatus"), "info": (2, "map")},
    "ContainerStatus": {
        "id": (1, "string"),
        "metadata": (2, "ContainerMetadata"),
        "state": (3, "int32"),
        "created_at": (4, "int64"),
        "started_at": (5, "int64"),
        "finished_at": (6, "int64"),
        "exit_code": (7, "int32"),
        "image": (8, "ImageSpec"),
        "image_ref": (9, "string"),
        "reason": (10, "string"),
        "message": (11, "string"),
        "labels": (12, "map"),
        "annotations": (13, "map"),
        "mounts": (14, "repeated Mount"),
        "log_path": (15, "string"),
        "image_id": (17, "string"),
    },
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "bool")},
    "StartContainerRequest": {"container_id": (1, "string")},
    "StartContainerResponse": {},
    "StopContainerRequest": {"container_id": (1, "string"), "timeout": (2, "int64")},
    "StopContainerResponse": {},
    "RemoveContainerRequest": {"container_id": (1, "string")},
    "RemoveContainerResponse": {},
    "ExecRequest": {
        "container_id": (1, "string"),
        "cmd": (2, "repeated string"),
        "tty": (3, "bool"),
        "stdin": (4, "bool"),
        "stdout": (5, "bool"),
    },
    "ExecResponse": {"url": (1, "string")},
    "ListImagesRequest": {},
    "ListImagesResponse": {"images": (1, "repeated Image")},
    "Image": {
        "id": (1, "string"),
        "repo_tags": (2, "repeated string"),
        "repo_digests": (3, "repeated string"),
        "size": (4, "uint64"),
    },
}
