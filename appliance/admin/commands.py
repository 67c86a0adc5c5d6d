"""Command groups `package` and `license` of the command line."""

import datetime
import json
from pathlib import Path
from typing import Any

import click

from appliance.admin import licenses, packages
from appliance.admin.tools.license import LicenseError, verify

FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def package() -> None:
    """Make and look into update packages."""


@package.command("keys")
@click.argument("directory", type=FOLDER)
@click.option("--admin-directory", type=EXISTING_FOLDER, help="Also install updates.key and updates.pub there.")
def make_keys(directory: Path, admin_directory: Path | None) -> None:
    """Make passphrase, signing key and public key in DIRECTORY. The signing key stays with the maker."""
    try:
        packages.make_keys(directory, admin_directory=admin_directory)
    except (packages.PackageError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Made {packages.PASSPHRASE}, {packages.PRIVATE_KEY} and {packages.PUBLIC_KEY} in {directory}")
    if admin_directory is not None:
        click.echo(f"Installed {packages.PASSPHRASE} and {packages.PUBLIC_KEY} in {admin_directory / 'etc'}")


@package.command("build")
@click.argument("payload", type=EXISTING_FOLDER)
@click.option("--version", required=True, help="The version that the package brings.")
@click.option("--keys", required=True, type=EXISTING_FOLDER, help="The folder that `package keys` made.")
@click.option("--output", "-o", required=True, type=FILE, help="The package, by custom software_package-*.enc.")
@click.option("--level", type=click.IntRange(0, 9), default=6, show_default=True, help="Of compression; 0 for none.")
def build(payload: Path, version: str, keys: Path, output: Path, level: int) -> None:
    """Build an update package from the folder PAYLOAD, which holds update.sh and what it installs."""
    if not (payload / "update.sh").is_file():
        click.echo(f"{payload} has no update.sh: the update will install nothing and end at 90 %", err=True)
    try:
        with click.progressbar(length=packages.payload_size(payload), label="Packing") as bar:
            sha256 = packages.build(payload, version, keys, output, level=level, progress=bar.update)
        size = output.stat().st_size
    except (packages.PackageError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}  version {version}  {size} bytes  sha256 {sha256}")


@package.command("inspect")
@click.argument("file", type=EXISTING_FILE)
@click.option("--keys", required=True, type=EXISTING_FOLDER, help="A folder with updates.key and updates.pub.")
def inspect(file: Path, keys: Path) -> None:
    """Show version, signature and members of the package FILE; exit code 1 where the signature is bad."""
    try:
        found = packages.inspect(file, keys)
    except (packages.PackageError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"version    {found.version or 'missing'}")
    click.echo(f"signature  {'valid' if found.signature_valid else 'INVALID'}")
    click.echo(f"archive    {found.inner_size} bytes  sha256 {found.inner_sha256}")
    for member in found.members:
        target = f" -> {member.target}" if member.target else ""
        click.echo(f"{member.mode:04o} {member.size:>12} {member.kind:<9} {_printable(member.name + target)}")
    if not found.signature_valid:
        raise click.exceptions.Exit(1)


def _printable(text: str) -> str:
    """Names come from whoever made the package: no control characters and half characters to the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@click.group()
def license() -> None:
    """Make and check licences."""


@license.command("make")
@click.argument("details", type=EXISTING_FILE)
@click.option("--key", required=True, type=EXISTING_FILE, help="The RSA private key, such as updates.private.pem.")
@click.option("--output", "-o", required=True, type=FILE, help="The licence, by custom license.asc.")
def make_license(details: Path, key: Path, output: Path) -> None:
    """Sign the JSON object in DETAILS (app, users, expires, name, contact and any more)."""
    try:
        licenses.make(details.read_bytes(), key, output)
    except (licenses.LicenseError, packages.PackageError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}")


@license.command("show")
@click.argument("file", type=EXISTING_FILE)
@click.option("--key", required=True, type=EXISTING_FILE, help="The public key: license.pub or updates.pub.")
def show_license(file: Path, key: Path) -> None:
    """Check the licence FILE and print its details; exit code 1 where it is not valid."""
    try:
        found: dict[str, Any] = verify(file.read_bytes(), str(key), datetime.datetime.now(datetime.UTC).date())
    except (LicenseError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(found, indent=2))
