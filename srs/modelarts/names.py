"""ModelArts' rules for names, paths and counts in a job's request, each violation a UserError.

Sources: the API reference "Creating a Training Job" (POST /v2/{project_id}/training-jobs), the field
descriptions of huaweicloudsdkmodelarts 3.1.219, and what jobs were seen to trip over: a command with
``&&`` or ``bash -c`` is not run by a shell, and ``$`` is not expanded in variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from srs.types import UserError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OBS_URL = re.compile(r"obs://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s$\"'`;&|<>]*)?")
ABSOLUTE = re.compile(r"/[A-Za-z0-9_./+@:-]*")
PLAIN_VALUE = re.compile(r"[^\s$\"'`;&|<>\\]*")
MAX_ENVIRONMENT, MAX_KEY, MAX_VALUE, MAX_DESCRIPTION = 100, 8192, 4096, 256
RESERVED = "/home/ma-user/modelarts", "/home/ma-user/modelarts-dev", "/home/ma-user/infer"


def check_name(key: str, value: str) -> None:
    if not NAME.fullmatch(value):
        raise UserError(
            f"{key} = {value!r}: ModelArts takes 1 to 64 of A-Z, a-z, 0-9, _ and -, nothing else"
        )


def check_description(key: str, value: str) -> None:
    if len(value) > MAX_DESCRIPTION:
        raise UserError(f"{key}: {len(value)} characters; ModelArts takes {MAX_DESCRIPTION}")


def check_command(key: str, value: str) -> None:
    """One absolute path: ModelArts runs it without a shell."""
    if not ABSOLUTE.fullmatch(value) or value.endswith("/"):
        raise UserError(
            f"{key} = {value!r}: write one absolute path of a program, without arguments, &&, ; or $ "
            "(what has to be done first goes into that program)"
        )


def check_environment(key: str, variables: Mapping[str, str]) -> None:
    if len(variables) > MAX_ENVIRONMENT:
        raise UserError(f"{key}: {len(variables)} variables; ModelArts takes {MAX_ENVIRONMENT}")
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name) or len(name) > MAX_KEY:
            raise UserError(
                f"{key}.{name}: use letters, digits and _, and begin with no digit, in a variable's name"
            )
        if name.startswith("MA_"):
            raise UserError(
                f"{key}.{name}: names that begin with MA_ belong to ModelArts: rename it"
            )
        if "$" in value:
            raise UserError(f"{key}.{name}: ModelArts expands no $ here: write the value itself")
        if len(value) > MAX_VALUE:
            raise UserError(f"{key}.{name}: {len(value)} characters; ModelArts takes {MAX_VALUE}")


def check_parameter(key: str, name: str, value: str) -> None:
    """Parameters become ``--name=value`` on a command line of which we don't control the quoting."""
    if not NAME.fullmatch(name):
        raise UserError(f"{key}.{name}: a parameter's name takes 1 to 64 of A-Z, a-z, 0-9, _ and -")
    if not PLAIN_VALUE.fullmatch(value):
        raise UserError(
            f"{key} = {value!r}: no spaces, quotes, $, ;, & or | in what becomes an argument"
        )


def check_obs_url(key: str, value: str) -> None:
    if not OBS_URL.fullmatch(value):
        raise UserError(f"{key} = {value!r}: write it as obs://bucket/folder, without spaces or $")


def check_folder(key: str, value: str) -> None:
    """A folder in the container: absolute and plain."""
    if not ABSOLUTE.fullmatch(value) or value == "/" or ".." in value.split("/"):
        raise UserError(f"{key} = {value!r}: write an absolute path in the container")


def check_mount(key: str, value: str) -> None:
    """Where a volume is mounted: not over what ModelArts itself puts into the container."""
    check_folder(key, value)
    if value.rstrip("/") == "/home/ma-user" or any(
        value == folder or value.startswith(f"{folder}/") for folder in RESERVED
    ):
        raise UserError(f"{key} = {value!r}: ModelArts uses this folder itself; mount it elsewhere")
