"""The arguments that ModelArts gives a program: ``--name=value``, in any order, some twice, some not ours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from srs.config import Config
from srs.types import UserError

NAMES = ("config", "tasks", "rounds", "run_url", "work_dir")
SECTIONS = frozenset(field.name for field in dataclasses.fields(Config))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    config: str = ""
    tasks: str = ""
    rounds: str = ""
    run_url: str = ""
    work_dir: str = ""
    overrides: tuple[str, ...] = ()
    """Each ``section.key=value``, one a key."""
    ignored: tuple[str, ...] = ()
    """What stood on the command line and is not ours, such as ``--train_url=…``."""


def parse(words: Sequence[str], environment: Mapping[str, str]) -> Arguments:
    """Read ``--name=value``, ``--name value`` and ``--section.key=value``; the last of a name wins.

    Overrides also come from the variable ``SRS_SET``, a JSON list, before those of the command line.
    Hyphens and underscores in names are the same. Raises UserError for an unusable SRS_SET.
    """
    values: dict[str, str] = {}
    overrides = dict(_split(text) for text in _of_variable(environment.get("SRS_SET", "")))
    ignored = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            ignored.append(word)
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if name == "set":
            key, setting = _split(value)
            overrides[key] = setting
        elif name in NAMES:
            values[name] = value
        elif name.partition(".")[0] in SECTIONS and "." in name:
            overrides[name] = value
        else:
            ignored.append(word)
    return Arguments(
        **values,
        overrides=tuple(f"{key}={value}" for key, value in overrides.items()),
        ignored=tuple(ignored),
    )


def _split(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write it as section.key=value")
    return key.strip(), value.strip()


def _of_variable(text: str) -> list[str]:
    if not text:
        return []
    try:
        found = json.loads(text)
    except ValueError as e:
        raise UserError(f"SRS_SET: not JSON: {e}; write a list of section.key=value") from e
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise UserError("SRS_SET: write a JSON list of section.key=value")
    return found
