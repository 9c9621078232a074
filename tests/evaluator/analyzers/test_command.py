"""An external tool behind a command that writes SARIF."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from evaluator.analyzers.command import Command
from evaluator.analyzers.finding import AnalyzerError, Finding, Findings, ToolFailed
from srs.types import UserError

TOOL = """
import json, pathlib, sys
folder, sarif = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
results = []
for file in sorted(folder.iterdir()):
    text = file.read_text()
    if "crash" in text:
        sys.exit("cannot go on")
    for number, line in enumerate(text.splitlines(), 1):
        if "eval" in line:
            place = {"artifactLocation": {"uri": file.as_uri()}, "region": {"startLine": number}}
            results.append({"ruleId": "EVAL", "level": "error", "message": {"text": "no eval"},
                            "locations": [{"physicalLocation": place}]})
driver = {"name": "own", "rules": []}
sarif.write_text(json.dumps({"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}))
sys.exit(1 if results else 0)
"""


@pytest.fixture
def tool(tmp_path: Path) -> str:
    """A command line: a small analyzer that exits with 1 when it finds something."""
    program = tmp_path / "a tool.py"
    program.write_text(TOOL)
    return shlex.join([sys.executable, str(program), "{dir}", "{sarif}"])


def test_its_findings(tool: str) -> None:
    found = Command.parse(tool).analyze(["x = 1\n", "x = 1\neval('x')\n", "def f(:"])
    finding = Finding(tool="own", rule="EVAL", severity="high", line=2, message="no eval")
    assert found[:2] == [Findings(), Findings(findings=(finding,))]
    assert isinstance(found[2], AnalyzerError)


def test_a_file_that_it_can_t_take(tool: str) -> None:
    found = Command.parse(tool).analyze(["x = 1\n", "crash = 1\n", "eval('x')\n"])
    assert found[0] == Findings()
    assert isinstance(found[1], AnalyzerError)
    assert "wrote no report: exit 1: cannot go on" in found[1].reason
    assert isinstance(found[2], Findings)


@pytest.mark.parametrize("command", ["true {sarif}", "/nonexistent/svace {sarif}", "sh -c 'echo {} > {sarif}'"])  # fmt: skip
def test_a_broken_tool(command: str) -> None:
    with pytest.raises(ToolFailed):
        Command.parse(command).analyze(["x = 1\n"])


@pytest.mark.parametrize(
    ("command", "message"),
    [("svace {dir}", "with {sarif} where"), ("", "with {sarif} where"), ("svace '{sarif}", "not a command line")],
)  # fmt: skip
def test_an_unusable_command(command: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Command.parse(command)


def test_a_real_tool_s_sarif() -> None:
    """Ruff writes SARIF too, and so stands in for the tools that aren't here."""
    pytest.importorskip("ruff", reason="ruff is not installed")
    ruff = shlex.join(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet"]
    )
    command = Command.parse(ruff + " --select F --output-format sarif --output-file {sarif} {dir}")
    first, second = command.analyze(["x = 1\n", "x = 1\nimport os\n"])
    assert first == Findings()
    assert isinstance(second, Findings)
    assert [(f.tool, f.rule, f.line) for f in second.findings] == [("ruff", "F401", 2)]
