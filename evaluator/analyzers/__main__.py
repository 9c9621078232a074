"""Looks at files with analyzers: ``python -m evaluator.analyzers --analyzer bandit FILE…``"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluator.analyzers.choose import HELP, Panel, Skipped, analyzer
from evaluator.analyzers.finding import SEVERITIES, Analyzer, AnalyzerError, ToolFailed, is_clean
from srs.types import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 when every file was looked at and is clean, 1 when not, 2 for unusable input, 3 for a
    broken tool."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.analyzers", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--analyzer", action="append", required=True, help=f"{HELP}, or valgrind (C programs); may be repeated")  # fmt: skip
    parser.add_argument("--floor", choices=SEVERITIES, default="low", help="leave out findings below this severity")  # fmt: skip
    parser.add_argument("--run-programs", action="store_true", help="valgrind: build and run the files, without a sandbox")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object per file")
    args = parser.parse_args(argv)
    try:
        tools: list[Analyzer] = []
        for text in args.analyzer:
            try:
                tools.append(analyzer(text, run_programs=args.run_programs))
            except Skipped as e:
                print(e, file=sys.stderr)
        if not tools:
            raise UserError("no analyzer is left")
        panel = Panel(analyzers=tuple(tools), floor=args.floor)
        return _show(args.files, panel, as_json=args.json)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except ToolFailed as e:
        print(f"error: the analyzer failed: {e}", file=sys.stderr)
        return 3


def _show(paths: Sequence[Path], panel: Panel, *, as_json: bool) -> int:
    analyses = panel.analyze([_read(path) for path in paths])
    clean = True
    for path, analysis in zip(paths, analyses, strict=True):
        clean = clean and is_clean(analysis)
        if as_json:
            print(json.dumps({"file": str(path), **dataclasses.asdict(analysis)}))
        elif isinstance(analysis, AnalyzerError):
            print(f"{path}: not analysed ({analysis.tool}): {analysis.reason}")
        else:
            for f in analysis.findings:
                print(f"{path}:{f.line}: {f.severity} {f.tool} {f.rule}: {f.message}")
    return 0 if clean else 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read: {e}") from e


if __name__ == "__main__":
    sys.exit(main())
