"""What the command line of ``python -m evaluator.repair`` asks for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluator.analyzers.choose import HELP, Panel, analyzer
from evaluator.analyzers.finding import SEVERITIES
from evaluator.options import Adapter
from evaluator.repairing.inputs import Inputs


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m evaluator.repair",
        description="Repair failing or flagged answers with feedback, beside a control without it.",
    )
    found.add_argument("--tasks", type=Path, required=True, help="KodCode rows, a benchmark's file, or a prompt set")  # fmt: skip
    source = found.add_mutually_exclusive_group()
    source.add_argument("--candidates", type=Path, metavar="C", help="answers to them; without it the model first writes one each")  # fmt: skip
    source.add_argument("--results", type=Path, metavar="DIR", help="answers from a folder of evaluator.run")  # fmt: skip
    found.add_argument("--answers", metavar="SET", help="which of the --results: greedy or sampled")
    found.add_argument("--limit", type=int, default=0, help="only so many tasks; 0 = all")
    found.add_argument("--model", required=True, help="a folder, a hub id, or tiny")
    found.add_argument("--adapter", type=Path, help="a LoRA adapter of the model")
    found.add_argument(
        "--epochs", type=int, default=1, help="how often an item may be answered again"
    )
    found.add_argument("--analyzer", action="append", default=[], help=f"{HELP}; may be repeated")
    found.add_argument("--floor", choices=SEVERITIES, default="low", help="leave out findings below this severity")  # fmt: skip
    found.add_argument("--engine", choices=("auto", "vllm", "transformers"))
    found.add_argument("--sandbox", choices=("auto", "docker", "process"))
    found.add_argument("--config", type=Path, metavar="F.toml", help="for what has no flag: temperature, max_tokens, template, seed, …")  # fmt: skip
    found.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override one config key; may be repeated")  # fmt: skip
    found.add_argument("--out", type=Path, required=True, metavar="DIR")
    return found


def panel_of(args: argparse.Namespace) -> Panel | None:
    """The analyzers as one; None without any. Raises UserError."""
    tools = tuple(analyzer(name) for name in args.analyzer)
    return Panel(analyzers=tools, floor=args.floor) if tools else None


def settings_of(
    args: argparse.Namespace,
    config: Mapping[str, Any],
    adapter: Adapter | None,
    inputs: Inputs,
) -> dict[str, Any]:
    """What must be equal for a folder to be continued; ``config`` by section. Epochs may be added."""
    return {
        "command": "repair",
        "inputs": {**inputs.origin, "limit": args.limit},
        "adapter": adapter and {"path": str(adapter.path), "sha256": adapter.sha256},
        "analyzers": list(args.analyzer),
        "floor": args.floor,
        "seed": config["run"]["seed"],
        **{name: config[name] for name in ("model", "generate")},
        "timeout_s": config["sandbox"]["timeout_s"],
        "memory_mib": config["sandbox"]["memory_mib"],
    }
