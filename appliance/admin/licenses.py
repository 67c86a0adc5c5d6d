"""Making licences; `appliance.admin.tools.license` checks them and describes the format."""

import base64
import datetime
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from appliance.admin.packages import load_private_key
from appliance.admin.tools.license import LicenseError, check
from appliance.files import write_atomic

__all__ = ["LicenseError", "make"]


def make(details: bytes, key: Path, output: Path) -> None:
    """Sign `details`, a JSON object, with the RSA private key in the file `key`; the licence goes to
    `output`.

    Raises LicenseError for details that are no good licence today, PackageError for the key, OSError.
    """
    check(details, datetime.datetime.now(datetime.UTC).date())
    signature = load_private_key(key).sign(details, padding.PKCS1v15(), hashes.SHA256())
    licence = {
        "payload": base64.b64encode(details).decode(),
        "signature": base64.b64encode(signature).decode(),
    }
    write_atomic(output, json.dumps(licence, indent=1).encode() + b"\n", mode=0o644)
