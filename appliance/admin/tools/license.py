"""Checks a licence and prints its details. Stand-alone, standard library and the openssl program only:

    license.py verify LICENCE --key PUBLIC.pem

A licence is a JSON file `{"payload": P, "signature": S}`. P is base64 of a JSON object with `app`, `users`,
`expires`, `name`, `contact` and any further keys; S is base64 of the RSA signature (PKCS#1 v1.5, SHA-256)
over the bytes that P decodes to. `expires` is "19 January 2038" or an ISO date, the last day on which the
licence is good, in UTC; without it the licence does not expire. The details are printed as one line of JSON;
exit code 1 is an invalid licence, with the reason on standard error.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

SIZE_LIMIT = 1 << 20
# strptime reads month names of the process's locale; the format's are English.
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


class LicenseError(Exception):
    """The licence is malformed, not signed by the key, or expired."""


def parse(document: bytes) -> tuple[bytes, bytes]:
    """The payload's bytes and the signature's. Raises LicenseError."""
    try:
        outer = json.loads(document)
        payload, signature = outer["payload"], outer["signature"]
        return base64.b64decode(payload, validate=True), base64.b64decode(signature, validate=True)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LicenseError("not a licence file") from error


def check(payload: bytes, today: datetime.date) -> dict[str, Any]:
    """The details of a payload that is good on `today`. Raises LicenseError."""
    try:
        details = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise LicenseError("the payload is no JSON") from error
    if not isinstance(details, dict):
        raise LicenseError("the payload is no JSON object")
    if "expires" in details and expiry(details["expires"]) < today:
        raise LicenseError(f"expired on {details['expires']}")
    return details


def expiry(text: object) -> datetime.date:
    """The date of `19 January 2038` or `2038-01-19`. Raises LicenseError."""
    try:
        if not isinstance(text, str):
            raise ValueError("not text")
        words = text.split()
        if len(words) == 3:
            return datetime.date(int(words[2]), MONTHS.index(words[1].lower()) + 1, int(words[0]))
        return datetime.date.fromisoformat(text.strip()[:10])
    except ValueError as error:
        raise LicenseError(f"expires: {text!r} is no date") from error


def verify(document: bytes, key_file: str, today: datetime.date) -> dict[str, Any]:
    """The details of a licence signed by the key and good on `today`. Raises LicenseError, OSError."""
    payload, signature = parse(document)
    with tempfile.NamedTemporaryFile(prefix="license-") as signature_file:
        signature_file.write(signature)
        signature_file.flush()
        checked = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", key_file, "-signature", signature_file.name],
            input=payload,
            capture_output=True,
            timeout=30,
            check=False,
        )
    if checked.returncode != 0:
        raise LicenseError("the signature does not match")
    return check(payload, today)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="license.py", description="Check a licence and print its details.")
    parser.add_argument("command", choices=["verify"])
    parser.add_argument("license", help="the licence file")
    parser.add_argument("--key", required=True, help="the public key, PEM")
    given = parser.parse_args(arguments)
    try:
        with open(given.license, "rb") as file:
            document = file.read(SIZE_LIMIT + 1)
        if len(document) > SIZE_LIMIT:
            raise LicenseError("the file is too large")
        if not os.path.isfile(given.key):
            raise LicenseError("there is no key to check it with")
        details = verify(document, given.key, datetime.datetime.now(datetime.UTC).date())
    except (LicenseError, OSError, subprocess.TimeoutExpired) as error:
        print(f"invalid licence: {error}", file=sys.stderr)
        return 1
    print(json.dumps(details))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
