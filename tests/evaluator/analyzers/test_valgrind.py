"""Memcheck's XML, written by hand after its documented format; and memcheck itself where it is installed."""

from __future__ import annotations

import pytest

from evaluator.analyzers.finding import AnalyzerError, Findings, is_clean
from evaluator.analyzers.valgrind import Valgrind, parse_memcheck, why_not


def frame(function: str, file: str = "", line: int = 0) -> str:
    place = f"<file>{file}</file><line>{line}</line>" if file else ""
    return f"<frame><ip>0x1</ip><fn>{function}</fn>{place}</frame>"


def report(*errors: str, tool: str = "memcheck", state: str = "FINISHED") -> bytes:
    body = "".join(errors)
    return (
        '<?xml version="1.0"?><valgrindoutput><protocolversion>4</protocolversion>'
        f"<tool>{tool}</tool><status><state>RUNNING</state></status>{body}"
        f"<status><state>{state}</state></status></valgrindoutput>"
    ).encode()


WRITE = (
    "<error><kind>InvalidWrite</kind><what>Invalid write of size 4</what>"
    f"<stack>{frame('memset')}{frame('fill', 'prog.c', 7)}{frame('main', 'prog.c', 12)}</stack>"
    f"<auxwhat>Address 0x2 is 0 bytes after a block</auxwhat><stack>{frame('main', 'prog.c', 11)}</stack></error>"
)
LEAK = (
    "<error><kind>Leak_DefinitelyLost</kind><xwhat><text>16 bytes are definitely lost</text>"
    f"<leakedbytes>16</leakedbytes></xwhat><stack>{frame('malloc')}</stack></error>"
)


def test_errors_at_their_innermost_line_of_ours() -> None:
    found = parse_memcheck(report(WRITE, LEAK), "prog.c")
    assert isinstance(found, Findings)
    assert [(f.line, f.rule, f.severity, f.message) for f in found.findings] == [
        (0, "Leak_DefinitelyLost", "medium", "16 bytes are definitely lost"),
        (7, "InvalidWrite", "high", "Invalid write of size 4"),
    ]
    assert is_clean(parse_memcheck(report(), "prog.c"))


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"", "can't be read"),
        (report(WRITE)[:-40], "can't be read"),
        (report(state="RUNNING"), "ends before the program does"),
        (report(tool="helgrind"), "not a report of memcheck"),
        (b"<x/>", "not a report of memcheck"),
    ],
)
def test_half_a_report_is_never_clean(xml: bytes, reason: str) -> None:
    found = parse_memcheck(xml, "prog.c")
    assert isinstance(found, AnalyzerError)
    assert reason in found.reason


def test_programs_for_real() -> None:
    if reason := why_not():
        pytest.skip(f"valgrind: {reason}")
    overflow = "#include <stdlib.h>\nint main(void) {\n  int *p = malloc(4);\n  p[1] = 1;\n  free(p);\n  return 0;\n}\n"
    endless = "int main(void) { for (;;); }\n"
    found = Valgrind(timeout_s=10).analyze(
        [overflow, "int main(void) { return 0; }\n", "int main("]
    )
    assert isinstance(found[0], Findings)
    assert [(f.rule, f.severity, f.line) for f in found[0].findings] == [
        ("InvalidWrite", "high", 4)
    ]
    assert is_clean(found[1])
    assert isinstance(found[2], AnalyzerError)
    assert found[2].reason.startswith("doesn't build:")
    (stuck,) = Valgrind(timeout_s=2).analyze([endless])
    assert stuck == AnalyzerError(tool="valgrind", reason="didn't end within 2 s")


def test_why_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert why_not() == "cc and valgrind not installed"
