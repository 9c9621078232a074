"""What a run of tests amounts to: the worker's answer, made of the records that the tests' side sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.inside import words


def of_records(records: Iterable[dict[str, Any]], ended: str, *, together: bool) -> dict[str, Any]:
    """What the records amount to. Together, all of them may be forged, and some are no use to believe."""
    answer: dict[str, Any] = {
        "status": ended,
        "collected": [],
        "reports": [],
        "detail": "",
        "memory": False,
    }
    seen: set[str] = set()
    for record in records:
        if "error" in record and ended == "finished":
            answer["status"], answer["detail"] = "error", words.short(record["error"])
        if "stopped" in record and ended == "finished":
            answer["status"], answer["detail"] = "died", words.short(record["stopped"])
        if "used" in record and not together:
            for name in ("used", "calls", "wrote", "refused"):
                answer[name] = record[name]
            answer["shared"] = [[name, *where] for name, where in record["shared"].items()]
        answer["collected"] = record.get("collected", answer["collected"])
        if "test" in record:
            name, outcome, message = record["test"]
            if name not in seen:
                message = words.short(message)
                answer["reports"].append({"id": name, "outcome": outcome, "message": message})
            seen.add(name)
            answer["memory"] = answer["memory"] or record["memory"]
    return answer


def passed(answer: dict[str, Any], test: str = "") -> bool:
    """Whether all tests passed, or all parametrized cases of the one named; skips aside."""
    reports = [r for r in answer["reports"] if test in ("", r["id"].split("[")[0])]
    outcomes = {report["outcome"] for report in reports}
    return (
        answer["status"] == "finished"
        and "passed" in outcomes
        and outcomes <= {"passed", "skipped"}
    )
