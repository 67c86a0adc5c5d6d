"""A host's certificates as a ZIP archive, for those who set a host up by hand."""

import io
import zipfile

from appliance.mesh.device.configuration import NetworkView, NodeView

_README = """\
Certificates of {hostname} ({address})

ca.crt    the network's CA: what this host believes
host.crt  this host's certificate
{key}

Put them into /etc/nebula and name them in config.yml under pki: ca, cert, key.
"""
_KEY_THERE = "host.key  this host's private key: for nobody else to read"
_KEY_ELSEWHERE = "(The private key was made on the host and has never left it.)"
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that ZIP can say: the same content is the same archive


def bundle(network: NetworkView, node: NodeView) -> bytes:
    """The archive."""
    key = node.private_key
    readme = _README.format(
        hostname=node.hostname, address=node.ip_address, key=_KEY_THERE if key is not None else _KEY_ELSEWHERE
    )
    files = {"ca.crt": "".join(network.authorities), "host.crt": node.certificate, "README.txt": readme}
    if key is not None:
        files["host.key"] = key
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = (0o600 if name == "host.key" else 0o644) << 16
            archive.writestr(entry, files[name])
    return target.getvalue()
