"""SARIF 2.1.0: levels, rules, locations, suppressions, several runs, and what may never look clean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evaluator.analyzers.finding import AnalyzerError, Finding, Findings, ToolFailed
from evaluator.analyzers.sarif import parse_sarif

NAMES = ["c00000.py", "c00001.py"]


def _at(uri: str = "c00000.py", line: int | None = 3, **artifact: Any) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri, **artifact}}
    if line is not None:
        physical["region"] = {"startLine": line}
    return {"physicalLocation": physical}


def _result(**changes: Any) -> dict[str, Any]:
    return {"ruleId": "R1", "message": {"text": "wrong"}, "locations": [_at()], **changes}


def _run(
    *results: dict[str, Any], tool: str = "svace", rules: Any = (), **more: Any
) -> dict[str, Any]:
    return {"tool": {"driver": {"name": tool, "rules": list(rules)}}, "results": list(results), **more}  # fmt: skip


def _log(*runs: dict[str, Any]) -> str:
    return json.dumps({"version": "2.1.0", "runs": list(runs)})


def _first(result: dict[str, Any], **run: Any) -> list[Finding]:
    analysis = parse_sarif(_log(_run(result, **run)), NAMES)[0]
    assert isinstance(analysis, Findings)
    return list(analysis.findings)


def test_one_result() -> None:
    assert parse_sarif(_log(_run(_result())), NAMES) == [
        Findings(
            findings=(Finding(tool="svace", rule="R1", severity="medium", line=3, message="wrong"),)
        ),
        Findings(),
    ]


@pytest.mark.parametrize(
    ("level", "severity"),
    [("error", "high"), ("warning", "medium"), ("note", "low"), ("none", "low")],
)
def test_levels(level: str, severity: str) -> None:
    assert [f.severity for f in _first(_result(level=level))] == [severity]
    rule = {"id": "R1", "defaultConfiguration": {"level": level}}
    assert [f.severity for f in _first(_result(), rules=[rule])] == [severity]
    assert [f.severity for f in _first(_result(level="error"), rules=[rule])] == ["high"]


def test_a_rule_by_index_by_variety_and_from_an_extension() -> None:
    rules = [{"id": "A"}, {"id": "B", "defaultConfiguration": {"level": "error"}}]
    by_index = _result(ruleIndex=1)
    del by_index["ruleId"]
    assert [(f.rule, f.severity) for f in _first(by_index, rules=rules)] == [("B", "high")]
    assert [(f.rule, f.severity) for f in _first(_result(ruleId="B/2"), rules=rules)] == [("B/2", "high")]  # fmt: skip
    run = _run(_result(rule={"index": 1, "toolComponent": {"index": 0}}))
    del run["results"][0]["ruleId"]
    run["tool"]["extensions"] = [{"name": "pack", "rules": rules}]
    found = parse_sarif(_log(run), NAMES)[0]
    assert isinstance(found, Findings)
    assert [(f.rule, f.severity) for f in found.findings] == [("B", "high")]


def test_messages_from_templates() -> None:
    rule = {"id": "R1", "messageStrings": {"m": {"text": "'{0}' before {1}, {9}"}}}
    result = _result(message={"id": "m", "arguments": ["x", "y"]})
    assert _first(result, rules=[rule])[0].message == "'x' before y, {9}"


@pytest.mark.parametrize(
    "uri",
    [
        "c00000.py",
        "./c00000.py",
        "file:///tmp/analyze-x/c00000.py",
        "src/c0000%30.py",
        "/a/c00000.py",
    ],
)
def test_locations(uri: str) -> None:
    assert [f.line for f in _first(_result(locations=[_at(uri)]))] == [3]


def test_locations_by_index_without_a_line_and_in_two_files() -> None:
    by_index = {"physicalLocation": {"artifactLocation": {"index": 1}}}
    run = _run(
        _result(locations=[by_index]),
        _result(ruleId="R2", locations=[_at("c00000.py", None), _at("c00001.py", 9)]),
        artifacts=[{"location": {"uri": "x"}}, {"location": {"uri": "c00001.py"}}],
    )
    first, second = parse_sarif(_log(run), NAMES)
    assert isinstance(first, Findings)
    assert isinstance(second, Findings)
    assert [(f.rule, f.line) for f in first.findings] == [("R2", 0)]
    assert [(f.rule, f.line) for f in second.findings] == [("R1", 0), ("R2", 9)]


def test_a_result_without_a_place_belongs_to_the_only_file() -> None:
    for locations in ([], [_at("/usr/lib/python3/os.py")]):
        log = _log(_run(_result(locations=locations)))
        with pytest.raises(ToolFailed, match="fits none of the files"):
            parse_sarif(log, NAMES)
        (only,) = parse_sarif(log, NAMES[:1])
        assert isinstance(only, Findings)
        assert [(f.rule, f.line) for f in only.findings] == [("R1", 0)]


@pytest.mark.parametrize(
    ("suppressions", "counts"),
    [
        ([], True),
        ([{"kind": "external"}], False),
        ([{"kind": "external", "status": "accepted"}], False),
        ([{"kind": "external", "status": "rejected"}], True),
        ([{"kind": "external", "status": "underReview"}], True),
        ([{"kind": "external"}, {"kind": "external", "status": "rejected"}], True),
        ([{"kind": "inSource"}], True),
        ([{"kind": "inSource"}, {"kind": "external"}], False),
    ],
)
def test_suppressed_by_a_person_but_not_by_the_candidate(
    suppressions: list[dict[str, str]], counts: bool
) -> None:
    assert bool(_first(_result(suppressions=suppressions))) == counts


@pytest.mark.parametrize(
    ("changes", "severities"),
    [
        ({"kind": "pass"}, []),
        ({"kind": "notApplicable"}, []),
        ({"kind": "informational"}, []),
        ({"kind": "review"}, ["low"]),
        ({"kind": "fail", "level": "error"}, ["high"]),
        ({"baselineState": "absent"}, []),
        ({"baselineState": "unchanged"}, ["medium"]),
    ],
)
def test_kinds(changes: dict[str, str], severities: list[str]) -> None:
    assert [f.severity for f in _first(_result(**changes))] == severities


def test_several_runs() -> None:
    log = _log(_run(_result(), tool="a"), _run(_result(ruleId="R2"), tool="b"), _run(tool="c"))
    first, _ = parse_sarif(log, NAMES)
    assert isinstance(first, Findings)
    assert [(f.tool, f.rule) for f in first.findings] == [("a", "R1"), ("b", "R2")]


def test_a_file_that_the_tool_could_not_read() -> None:
    note = {
        "level": "error",
        "message": {"text": "no such syntax"},
        "locations": [_at("c00001.py")],
    }
    hint = {"level": "note", "message": {"text": "slow"}, "locations": [_at("c00000.py")]}
    run = _run(invocations=[{"executionSuccessful": False, "toolExecutionNotifications": [note, hint]}])  # fmt: skip
    assert parse_sarif(_log(run), NAMES) == [
        Findings(),
        AnalyzerError(tool="svace", reason="no such syntax"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a SARIF report"),
        ("[" * 100_000, "not a SARIF report"),
        ('{"runs": []}', "not a SARIF report: KeyError: 'version'"),
        ('{"version": "1.0.0", "runs": []}', r"SARIF 1\.0\.0: only 2\.1\.0"),
        (_log({"tool": {"driver": {"name": "t"}}}), "t: a run without results"),
        (_log(_run(externalPropertyFileReferences={"results": [{}]})), "in other files"),
        (_log(_run(invocations=[{"executionSuccessful": False}])), "says that it failed"),
        (_log(_run({"ruleId": "R", "message": {}, "locations": [_at()]})), "not a SARIF report"),
    ],
)
def test_what_is_never_clean(text: str, message: str) -> None:
    with pytest.raises(ToolFailed, match=message):
        parse_sarif(text, NAMES)


def test_no_runs_is_never_clean() -> None:
    with pytest.raises(ToolFailed, match="no runs"):
        parse_sarif('{"version": "2.1.0", "runs": []}', NAMES)
