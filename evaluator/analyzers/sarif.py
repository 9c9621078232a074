"""SARIF 2.1.0 reports, so that any tool that writes them can be an analyzer.

OASIS standard, https://docs.oasis-open.org/sarif/sarif/v2.1.0/. Read: all runs; levels, also a rule's
default by ``ruleIndex`` or id; message templates; locations by URI or artifact index; suppressions; what
the tool says of its own failures. Not read: a run's overrides of rule levels, external property files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from evaluator.analyzers.finding import (
    Analysis,
    AnalyzerError,
    Finding,
    Severity,
    ToolFailed,
    by_line,
)

NOT_COMPLAINTS = {"pass", "notApplicable", "informational"}
SEVERITY_OF: dict[str, Severity] = {"error": "high", "warning": "medium", "note": "low"}
PLACEHOLDER = re.compile(r"\{(\d+)\}")


def parse_sarif(text: str, names: Sequence[str]) -> list[Analysis]:
    """One result per name; a result is a file's when a location's last path component is its name.

    A result that names none of the files goes to the only file, where there is only one. A suppression
    written into the source doesn't count: the source is a candidate's, who would suppress everything.
    Raises ToolFailed when the text isn't SARIF 2.1.0, a run failed, or a result fits no file of several.
    """
    found: dict[str, list[Finding]] = {name: [] for name in names}
    broken: dict[str, str] = {}
    tool = "sarif"
    try:
        log = json.loads(text.removeprefix("\ufeff"))
        if not str(log["version"]).startswith("2.1"):
            raise ToolFailed(f"SARIF {log['version']}: only 2.1.0 can be read")
        if not log["runs"]:
            raise ToolFailed("a SARIF report with no runs: no tool looked at anything")
        for run in log["runs"]:
            tool = run["tool"]["driver"]["name"]
            _check_whole(run, tool)
            for file, reason in _failures(run, names, tool):
                broken.setdefault(file, reason)
            for result in run["results"]:
                if _counts(result):
                    for name, line in _places(result.get("locations", ()), run, names):
                        if name is None and len(names) != 1:
                            raise ToolFailed(f"{tool}: a result fits none of the files: {result}")
                        found[name or names[0]].append(_finding(result, run, tool, line))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
        raise ToolFailed(f"{tool}: not a SARIF report: {type(e).__name__}: {e}") from e
    return [
        AnalyzerError(tool=tool, reason=broken[name]) if name in broken else by_line(found[name])
        for name in names
    ]


def _check_whole(run: Mapping[str, Any], tool: str) -> None:
    if "results" in run.get("externalPropertyFileReferences", {}):
        raise ToolFailed(f"{tool}: its results are in other files; have it write one file")
    if run.get("results") is None:
        raise ToolFailed(f"{tool}: a run without results: the tool didn't look at anything")


def _failures(run: Mapping[str, Any], names: Sequence[str], tool: str) -> Iterator[tuple[str, str]]:
    """(name, reason) for each file that the tool says it could not look at."""
    for invocation in run.get("invocations", ()):
        located = False
        for note in invocation.get("toolExecutionNotifications", ()):
            if note.get("level", "warning") != "error":
                continue
            reason = note.get("message", {}).get("text", "the tool reports an error")
            for name, _ in _places(note.get("locations", ()), run, names):
                if name is not None:
                    located = True
                    yield name, reason
        if invocation.get("executionSuccessful") is False and not located:
            raise ToolFailed(f"{tool}: says that it failed (executionSuccessful is false)")


def _counts(result: Mapping[str, Any]) -> bool:
    """Whether a result is a complaint in force."""
    if result.get("kind", "fail") in NOT_COMPLAINTS or result.get("baselineState") == "absent":
        return False
    suppressions = result.get("suppressions") or ()
    decided = all(s.get("status", "accepted") == "accepted" for s in suppressions)
    return not (decided and any(s["kind"] == "external" for s in suppressions))


def _places(
    locations: Sequence[Mapping[str, Any]], run: Mapping[str, Any], names: Sequence[str]
) -> list[tuple[str | None, int]]:
    """(file, line) of each location in one of the files, else [(None, 0)]."""
    places: list[tuple[str | None, int]] = []
    for location in locations:
        physical = location.get("physicalLocation", {})
        artifact = physical.get("artifactLocation", {})
        uri = artifact.get("uri")
        if uri is None and artifact.get("index", -1) >= 0:
            uri = run["artifacts"][artifact["index"]]["location"]["uri"]
        name = PurePosixPath(unquote(urlsplit(uri or "").path)).name
        if name in names:
            places.append((name, physical.get("region", {}).get("startLine", 0)))
    return places or [(None, 0)]


def _finding(result: Mapping[str, Any], run: Mapping[str, Any], tool: str, line: int) -> Finding:
    rule = _rule(result, run)
    said = result.get("rule", {})
    rule_id = result.get("ruleId") or said.get("id") or rule.get("id") or "unknown"
    level = result.get("level") or rule.get("defaultConfiguration", {}).get("level") or "warning"
    if result.get("kind", "fail") != "fail":
        level = "note"  # open or review: it may be a complaint, a person has to decide
    return Finding(
        tool=tool,
        rule=rule_id,
        severity=SEVERITY_OF.get(level, "low"),
        line=line,
        message=_message(result["message"], rule, run),
    )


def _rule(result: Mapping[str, Any], run: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rule's description, or an empty mapping when the tool gives none."""
    said = result.get("rule", {})
    component: Mapping[str, Any] = run["tool"]["driver"]
    extension: int = said.get("toolComponent", {}).get("index", -1)
    if extension >= 0:
        component = run["tool"]["extensions"][extension]
    rules: Sequence[Mapping[str, Any]] = component.get("rules", ())
    index: int = result.get("ruleIndex", said.get("index", -1))
    if index >= 0:
        found: Mapping[str, Any] = rules[index]
        return found
    wanted = result.get("ruleId") or said.get("id") or ""
    # "CA2101/1" is a variety of the rule "CA2101" (section 3.27.5).
    by_id: dict[str, Mapping[str, Any]] = {rule["id"]: rule for rule in rules}
    return by_id.get(wanted) or by_id.get(wanted.rpartition("/")[0]) or {}


def _message(message: Mapping[str, Any], rule: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    text = message.get("text")
    if text is None:
        key = message["id"]
        strings = rule.get("messageStrings", {})
        if key not in strings:
            strings = run["tool"]["driver"].get("globalMessageStrings", {})
        text = strings[key]["text"]
    arguments = message.get("arguments", ())

    def value(match: re.Match[str]) -> str:
        place = int(match[1])
        return str(arguments[place]) if place < len(arguments) else match[0]

    filled = PLACEHOLDER.sub(value, text) if arguments else text
    return " ".join(filled.split())
