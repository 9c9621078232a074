"""docs/configuration.md says what the dataclasses say."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from srs.config import Config

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    ran = subprocess.run(
        [sys.executable, "scripts/config_docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_key_appears_in_its_section() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## \[(\w+)\]\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    for section in dataclasses.fields(Config):
        keys = [f.name for f in dataclasses.fields(getattr(Config(), section.name))]
        assert re.findall(r"^\| `(\w+)` \|", sections[section.name], re.M) == keys
