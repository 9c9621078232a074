"""Any tool that can be started by a command and writes SARIF: Svace, CodeQL, Semgrep, …"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Self

from evaluator.analyzers.batch import folder_of, in_batches, last_words, run_tool
from evaluator.analyzers.finding import Analysis, ToolFailed
from evaluator.analyzers.sarif import parse_sarif
from srs.types import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """``argv`` is started without a shell, in a folder that holds the files and nothing else.

    In each argument ``{dir}`` is that folder and ``{sarif}`` where the report has to appear, outside of
    it. The tool's exit status is not asked (many exit with 1 when they find something): its report is.
    Whether the tool only reads the code is up to the tool. ``timeout_s``: for one call of up to 200 files.
    """

    argv: tuple[str, ...]
    timeout_s: float = 1800.0
    name: str = "sarif"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a command line. Raises UserError when it can't be split or doesn't name ``{sarif}``."""
        try:
            argv = tuple(shlex.split(text))
        except ValueError as e:
            raise UserError(f"--analyzer sarif:{text}: not a command line: {e}") from e
        if not argv or not any("{sarif}" in part for part in argv):
            raise UserError(
                f"--analyzer sarif:{text}: the command must say with {{sarif}} where its report goes"
            )
        return cls(argv=argv)

    def analyze(self, files: Sequence[str]) -> list[Analysis]:
        return in_batches(self.name, files, self._look)

    def _look(self, files: Sequence[str]) -> list[Analysis]:
        with folder_of(files) as (folder, names), folder_of(()) as (beside, _):
            report = beside / "report.sarif"
            argv = [
                part.replace("{dir}", str(folder)).replace("{sarif}", str(report))
                for part in self.argv
            ]
            done = run_tool(argv, folder, timeout_s=self.timeout_s)
            if not report.is_file():
                raise ToolFailed(f"{argv[0]}: wrote no report: {last_words(done)}")
            return parse_sarif(report.read_bytes().decode("utf-8", errors="replace"), names)
