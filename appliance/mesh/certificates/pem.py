"""PEM (RFC 7468) with Nebula's labels, which differ from those of X.509."""

import base64
import binascii

from appliance.mesh.certificates.errors import BadCertificate

CERTIFICATE_V1 = "NEBULA CERTIFICATE"
CERTIFICATE_V2 = "NEBULA CERTIFICATE V2"
ED25519_PRIVATE_KEY = "NEBULA ED25519 PRIVATE KEY"
X25519_PRIVATE_KEY = "NEBULA X25519 PRIVATE KEY"
X25519_PUBLIC_KEY = "NEBULA X25519 PUBLIC KEY"

LIMIT = 1 << 16
"""Most characters of one PEM text that is read."""

_LINE = 64


def encode(label: str, content: bytes) -> str:
    """One PEM block with a line feed at its end."""
    text = base64.b64encode(content).decode("ascii")
    lines = (text[begin : begin + _LINE] for begin in range(0, len(text), _LINE))
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def decode(text: str, *labels: str) -> tuple[str, bytes]:
    """The label and the content of the one block that `text` is, white space around it aside.

    Raises `BadCertificate` for anything else, and for a label that is not among `labels`.
    """
    if len(text) > LIMIT:
        raise BadCertificate(f"longer than {LIMIT} characters")
    lines = text.strip().splitlines()
    if len(lines) < 2 or not lines[0].startswith("-----BEGIN ") or not lines[0].rstrip().endswith("-----"):
        raise BadCertificate("not a PEM block")
    label = lines[0].rstrip()[len("-----BEGIN ") : -len("-----")]
    if label not in labels:
        raise BadCertificate(f"a {' or '.join(labels)} is wanted")
    if lines[-1].rstrip() != f"-----END {label}-----":
        raise BadCertificate("the PEM block does not end as it begins, or it is not the only one")
    try:
        return label, base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        raise BadCertificate("the PEM block does not hold base64") from None
