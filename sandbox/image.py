"""Builds the sandbox image: ``python -m sandbox.image [--base IMAGE]``.

The tag is the hash of the Dockerfile and of what runs inside, so that a change of either builds a new image.
Where no registry answers, the base is a Debian made here with debootstrap.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from sandbox.runner import SandboxError

HERE = Path(__file__).parent
SOURCES = (
    "Dockerfile",
    "__init__.py",
    *sorted(f"inside/{p.name}" for p in (HERE / "inside").glob("*.py")),
)
REPOSITORY = "srs-sandbox"
PUBLIC_BASE = "python:3.11-slim"
LOCAL_BASE = "srs-sandbox-base:bookworm"
DEBIAN_PACKAGES = "python3,python3-pip,ca-certificates"
PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
log = logging.getLogger(__name__)


def tag() -> str:
    """The name of the image that belongs to these sources."""
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def ensure(client: Any, base: str = "") -> str:
    """The image's tag; builds it when it isn't there. ``client``: a docker.DockerClient.

    Raises SandboxError saying what to do when it can't be built.
    """
    name = tag()
    if not present(client, name):
        log.warning("building the sandbox image %s (once)", name)
        build(client, name, base or _base(client))
    return name


def build(client: Any, name: str, base: str) -> None:
    """Build ``name`` on ``base``. Raises SandboxError with the build's last words."""
    import docker.errors

    arguments = {key: os.environ[key] for key in PIP_SETTINGS if key in os.environ}
    try:
        client.images.build(
            fileobj=_context(),
            custom_context=True,
            tag=name,
            buildargs={"BASE_IMAGE": base, **arguments},
            network_mode="host",
            rm=True,
            forcerm=True,
        )
    except docker.errors.BuildError as e:
        lines = [
            entry["stream"].strip() for entry in e.build_log if entry.get("stream", "").strip()
        ]
        raise SandboxError(f"the image {name} can't be built: {e}; {' | '.join(lines[-3:])}") from e
    except OSError as e:
        why = getattr(e, "explanation", None) or e
        raise SandboxError(f"the image {name} can't be built: {why}") from e


def present(client: Any, name: str) -> bool:
    """Whether the daemon has that image. Raises SandboxError when it doesn't say."""
    import docker.errors

    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    except OSError as e:  # the SDK's and the connection's errors are, too
        raise SandboxError(f"the Docker daemon does not say whether it has {name}: {e}") from e
    return True


def _context() -> io.BytesIO:
    """The build's files: the sources, and this machine's CA bundle for pip."""
    files = {name: (HERE / name).read_bytes() for name in SOURCES}
    bundle = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    files["ca.pem"] = Path(bundle).read_bytes() if bundle else b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def _base(client: Any) -> str:
    for name in (PUBLIC_BASE, LOCAL_BASE):
        if present(client, name):
            return name
    try:
        client.images.pull(*PUBLIC_BASE.split(":"))
    except OSError as e:
        log.warning("%s can't be pulled; making %s with debootstrap", PUBLIC_BASE, LOCAL_BASE)
        _bootstrap(client, str(getattr(e, "explanation", None) or e))
        return LOCAL_BASE
    return PUBLIC_BASE


def _bootstrap(client: Any, why: str) -> None:
    """Make the local base. Raises SandboxError when this machine can't."""
    program = shutil.which("debootstrap") or shutil.which("debootstrap", path="/usr/sbin")
    if program is None or os.geteuid() != 0:
        raise SandboxError(
            f"{PUBLIC_BASE} can't be pulled ({why}); pull it where a registry answers, name another "
            "base with `python -m sandbox.image --base IMAGE`, or install debootstrap and run that "
            "command as root"
        )
    with tempfile.TemporaryDirectory(prefix="srs-base-") as directory:
        made = subprocess.run(
            [program, "--variant=minbase", f"--include={DEBIAN_PACKAGES}", "bookworm", directory],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if made.returncode != 0:
            words = (made.stderr or made.stdout).strip().splitlines()
            raise SandboxError(f"debootstrap failed: {words[-1] if words else made.returncode}")
        with subprocess.Popen(["tar", "-C", directory, "-c", "."], stdout=subprocess.PIPE) as tar:
            repository, _, label = LOCAL_BASE.partition(":")
            client.api.import_image(src=tar.stdout, repository=repository, tag=label)
        if tar.returncode != 0:
            raise SandboxError("tar failed on the debootstrap directory")


def main() -> int:
    from sandbox.docker import connect

    parser = argparse.ArgumentParser(prog="python -m sandbox.image", description=__doc__)
    parser.add_argument("--base", default="", help=f"base image (default {PUBLIC_BASE})")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    try:
        with contextlib.closing(connect()) as client:
            print(ensure(client, args.base))
    except SandboxError as e:
        print(f"error: {e}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
