"""Writes docs/configuration.md from the sections' own source: every key, type, default and docstring.

python scripts/config_docs.py [--check]     --check: exit 1 when the file differs, write nothing
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

Written by `python scripts/config_docs.py` from the dataclasses in `srs/config.py`, `scheduler/config.py`
and `sandbox/runner.py`; a test compares them.

A run takes `--config FILE.toml`; `--set section.key=value` overrides one key and may be repeated. A key
that is left out has the default below. An unknown key, a value of another type or one out of bounds is
refused, with the file and the key. `configs/` holds complete examples.
"""


def page() -> str:
    """The whole page as Markdown."""
    from srs.config import Config

    parts = [HEAD]
    for section in dataclasses.fields(Config):
        default = getattr(Config(), section.name)
        parts.append(f"## [{section.name}]\n\n| key | type | default | |\n|---|---|---|---|\n")
        for name, kind, words in documented(type(default)):
            value = json.dumps(getattr(default, name))
            parts.append(f"| `{name}` | {kind} | `{value}` | {words} |\n")
    return "".join(f"\n{part}" if part.startswith("##") else part for part in parts)


def documented(section: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Name, type and docstring of each key of a section, in order; the docstring may be empty."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(tree, ast.ClassDef)
    types = get_type_hints(section)
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            words = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                words = " ".join(str(following.value.value).split()).replace("``", "`")
            name = node.target.id
            yield name, type_in_words(types[name]), words.replace("|", "\\|")


def type_in_words(annotation: Any) -> str:
    """``int`` → whole number, a Literal → its choices, and so on."""
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    return {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "true or false",
        tuple[int, ...]: "list of whole numbers",
        tuple[float, ...]: "list of numbers",
    }.get(annotation, "list of texts")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when the file is out of date")
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            print(f"{PAGE.relative_to(ROOT)} is out of date: run python scripts/config_docs.py")
            return 1
        return 0
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
