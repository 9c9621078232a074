"""Valgrind's memcheck, for extension code: C programs, built and then run under it.

Unlike the other analyzers this one runs the code, with the rights of whoever calls it and only limits on
time, memory and files between them. It is for code that you would run anyway, and has to be asked for.
The XML is protocol 4, documented in Valgrind's source, docs/internals/xml-output-protocol4.txt.
"""

from __future__ import annotations

import dataclasses
import resource
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from evaluator.analyzers.batch import folder_of
from evaluator.analyzers.finding import (
    Analysis,
    AnalyzerError,
    Finding,
    Severity,
    ToolFailed,
    by_line,
)

BUILD = ("cc", "-g", "-O0", "-w", "-o", "{exe}", "{src}")
MEMCHECK = ("valgrind", "--tool=memcheck", "--xml=yes", "--leak-check=full", "--quiet")
FILE_MIB = 64
LEAK: dict[str, Severity] = {
    "Leak_DefinitelyLost": "medium",
    "Leak_IndirectlyLost": "medium",
    "Leak_PossiblyLost": "low",
    "Leak_StillReachable": "low",
}


def why_not() -> str | None:
    """None when memcheck can be used here, else the reason in words."""
    missing = [name for name in (BUILD[0], MEMCHECK[0]) if shutil.which(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Valgrind:
    """Each file is a C program with a ``main``. ``timeout_s`` bounds the build and the run each."""

    build: tuple[str, ...] = BUILD
    timeout_s: float = 60.0
    memory_mib: int = 4096
    name: str = "valgrind"

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        return [self._one(code) for code in files]

    def _one(self, code: str) -> Analysis:
        try:
            code.encode()
        except UnicodeEncodeError:
            return AnalyzerError(tool=self.name, reason="holds half of a surrogate pair")
        with folder_of([code], ".c") as (folder, (source,)):
            exe, report = folder / "program", folder / "memcheck.xml"
            build = [
                part.replace("{exe}", exe.name).replace("{src}", source) for part in self.build
            ]
            built = self._run(build, folder)
            if built is None or built.returncode != 0 or not exe.exists():
                said = "" if built is None else built.stderr.decode(errors="replace")
                reason = " ".join(said.split())[:300] or "no program within the time"
                return AnalyzerError(tool=self.name, reason=f"doesn't build: {reason}")
            ran = self._run([*MEMCHECK, f"--xml-file={report.name}", f"./{exe.name}"], folder)
            if ran is None:
                return AnalyzerError(
                    tool=self.name, reason=f"didn't end within {self.timeout_s:g} s"
                )
            if not report.is_file():
                return AnalyzerError(tool=self.name, reason="memcheck wrote no report")
            return parse_memcheck(report.read_bytes(), source)

    def _run(self, argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[bytes] | None:
        """None when it took too long."""
        try:
            return subprocess.run(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self.timeout_s,
                check=False,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(folder)},
                preexec_fn=self._limit,
            )
        except subprocess.TimeoutExpired:
            return None
        except OSError as e:
            raise ToolFailed(f"{argv[0]}: cannot be started: {e.strerror}") from e

    def _limit(self) -> None:
        memory, file = self.memory_mib << 20, FILE_MIB << 20
        seconds = int(self.timeout_s) + 1
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def parse_memcheck(xml: bytes, source: str) -> Analysis:
    """The errors in memcheck's report, each at its innermost frame in the file named ``source``.

    An invalid access is ``high``, a value that was never set ``high``, a leak ``medium`` or ``low``. A
    report that breaks off is an AnalyzerError: what the program did after that isn't known.
    """
    try:
        root = ElementTree.fromstring(xml)
        if root.tag != "valgrindoutput" or root.findtext("tool") != "memcheck":
            return AnalyzerError(tool="valgrind", reason="not a report of memcheck")
        if "FINISHED" not in [status.findtext("state") for status in root.iter("status")]:
            return AnalyzerError(tool="valgrind", reason="the report ends before the program does")
        return by_line([_finding(error, source) for error in root.findall("error")])
    except (ElementTree.ParseError, ValueError) as e:
        return AnalyzerError(tool="valgrind", reason=f"the report can't be read: {e}")


def _finding(error: ElementTree.Element, source: str) -> Finding:
    kind = error.findtext("kind") or "unknown"
    what = error.findtext("what") or error.findtext("xwhat/text") or kind
    frames = error.findall("stack/frame")
    lines = [f.findtext("line") for f in frames if Path(f.findtext("file") or "").name == source]
    return Finding(
        tool="valgrind",
        rule=kind,
        severity=LEAK.get(kind, "high"),
        line=int(lines[0] or 0) if lines else 0,
        message=" ".join(what.split()),
    )
