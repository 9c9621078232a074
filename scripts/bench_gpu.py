"""Times generation and training on a GPU with random weights at real shapes: nothing is downloaded.

    python scripts/bench_gpu.py --shape qwen2.5-coder-1.5b --out rates.json [--only generate]

Parts: ``generate`` (our generator beside ``vllm.LLM.generate``), ``train`` (a LoRA round beside a plain
TRL script), ``sleep`` (sleep and wake, adapter swap), ``round`` (generation, grading and training of a whole
round). Each writes its figures to --out when it is done; ``python -m srs.plan --rates`` reads them.
One device is used. ``--device cpu --shape tiny`` takes the same way through the code on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("generate", "train", "sleep", "round")
TARGETS = {"generate": ("ratio_to_raw", 0.95), "train": ("ratio_to_raw", 1.0)}


def settings_of(args: argparse.Namespace, model: Path) -> list[str]:
    """The run's config as overrides of the defaults, then those of the command line."""
    return [
        f"model.path={model}",
        "model.template=chat",
        f"model.max_length={args.prompt_tokens + args.max_tokens + 256}",
        "generate.engine=vllm",
        f"generate.n={args.n}",
        f"generate.max_tokens={args.max_tokens}",
        f"finetune.batch_size={args.batch_size}",
        f"finetune.micro_batch_size={args.micro_batch_size}",
        "finetune.target=mix",
        *args.set,
    ]


def measure(args: argparse.Namespace, work: Path) -> None:
    """Every part that was asked for. Raises UserError, SandboxError, ChildError."""
    from scripts.gpu_bench import parts
    from scripts.gpu_bench.model import ModelMaker
    from scripts.gpu_bench.whole_round import whole_round
    from srs import device as devices
    from srs.child import Child
    from srs.config import Config, override
    from srs.environment import environment
    from srs.estimate.shape import find
    from srs.models import TINY
    from srs.types import UserError

    shape = find(args.shape, args.shape, TINY)
    if args.device == "cpu":
        os.environ.update(dict.fromkeys(devices.VISIBLE.values(), ""))
    device = devices.detect()
    if args.device != "cpu":
        if device.kind == "cpu":
            raise UserError("no GPU that this environment's torch can use: --device cpu --shape tiny takes the same way on a CPU")  # fmt: skip
        device = dataclasses.replace(device, indices=device.indices[:1])
        os.environ[str(device.visible_variable)] = device.indices[0]
    folder = work / shape.name
    config = override(Config(), settings_of(args, folder / "model")[1:])
    with Child(
        "model maker",
        f"{ModelMaker.__module__}:ModelMaker",
        {
            "shape": dataclasses.asdict(shape),
            "folder": str(folder),
            "device": dataclasses.asdict(device),
            "rank": config.finetune.lora_r,
        },
        environment=device.environment(os.environ),
        log_path=work / "model.log",
    ) as maker:
        _say(f"writing random weights, {shape.n_parameters / 1e9:.2f} B, to {folder}")
        named = maker.ready()
    config = override(Config(), settings_of(args, folder / "model"))
    out = read(args.out, named)
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=work) as scratch:
        bench = parts.Bench(
            config=config,
            shape=shape,
            device=device,
            device_name=named["name"],
            adapter=folder / "adapter",
            folder=Path(scratch),
            tasks=parts.tiny_tasks(),
            repeats=args.repeats,
            prompts=args.prompts,
            prompt_tokens=args.prompt_tokens,
            examples=args.examples,
            round_tasks=args.tasks,
        )
        for part in args.only or PARTS:
            _say(f"{part} …")
            start = time.perf_counter()
            match part:
                case "generate":
                    found = parts.generate(bench, defaults=not args.no_defaults)
                case "train":
                    found = parts.train(bench)
                case "sleep":
                    found = parts.sleep(bench)
                case _:
                    share = (
                        "generate.gpu_memory_utilization=0.5"  # the trainer stays loaded beside it
                    )
                    found = whole_round(
                        dataclasses.replace(bench, config=override(config, [share, *args.set]))
                    )
            found["part_s"] = time.perf_counter() - start
            record(out, shape.name, part, found, environment())
            write(args.out, out)
            show(part, found)


def read(path: Path, device: dict[str, Any]) -> dict[str, Any]:
    """The file to add to, or a new one. Raises UserError when it is of another device or no such file."""
    from srs.estimate.rates import FORMAT
    from srs.types import UserError

    if not path.exists():
        return {"format": FORMAT, "device": device, "rates": {}, "parts": {}}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: not a readable rates file: {e}: choose another --out") from e
    if found.get("format") != FORMAT or found["device"]["name"] != device["name"]:
        raise UserError(f"{path}: not a rates file of {device['name']}: choose another --out")
    return found


def record(
    out: dict[str, Any], shape: str, part: str, found: dict[str, Any], environment: dict[str, Any]
) -> None:
    """Put a part's figures in place, and those that `srs.plan` reads among the rates."""
    versions = {key: value for key, value in environment.items() if key != "command"}
    out["parts"].setdefault(shape, {})[part] = {**found, "environment": versions}
    rates = out["rates"].setdefault(shape, {})
    match part:
        case "generate":
            rates["generate_tokens_per_s"] = found["ours"]["tokens_per_s"]
            rates["start_up_s"] = found["start_up_s"]
        case "train":
            rates["train_tokens_per_s"] = found["ours"]["tokens_per_s"]
            rates["train_start_s"] = found["start_s"]
        case "sleep":
            rates["engine_turn_s"] = found["engine_turn_s"]
            rates["round_overhead_s"] = found["swap_s"]


def write(path: Path, out: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def show(part: str, found: dict[str, Any]) -> None:
    """One line for each figure that is a number, and whether the aim was met."""
    for name, value in found.items():
        if isinstance(value, dict) and "tokens_per_s" in value:
            print(f"{part}: {name}: {value['tokens_per_s']:,.0f} tokens/s")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            print(f"{part}: {name}: {value:,.4g}")
        elif isinstance(value, str | bool):
            print(f"{part}: {name}: {value}")
    if part in TARGETS:
        name, aim = TARGETS[part]
        print(
            f"{part}: aim: {name} at least {aim}: {'met' if found[name] >= aim else 'missed'}",
            flush=True,
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 with figures, 1 when a process died, 2 without a GPU or for unusable input, 3 sandbox broken,
    130 interrupted."""
    args = _parser().parse_args(argv)
    sys.path.insert(0, str(ROOT))  # when it runs as a file, `scripts` is not importable otherwise
    from srs.ending import exit_code

    def work() -> None:
        if args.work:
            args.work.mkdir(parents=True, exist_ok=True)
            measure(args, args.work.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="srs-bench-gpu-") as folder:
                measure(args, Path(folder))

    return exit_code(work)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shape", default="qwen2.5-coder-1.5b", help="qwen2.5-coder-1.5b, qwen2.5-coder-7b, deepseek-coder-6.7b, tiny, or a config.json")  # fmt: skip
    add("--device", choices=("gpu", "cpu"), default="gpu", help="gpu: the first NVIDIA or Ascend device")  # fmt: skip
    add("--only", action="append", choices=PARTS, help="this part; may be repeated; default: all of them")  # fmt: skip
    add("--out", type=Path, default=Path("rates.json"), help="figures are added to this file")
    add("--work", type=Path, metavar="DIR", help="keep the random model here for the next call; default: a temporary folder")  # fmt: skip
    add("--repeats", type=_count, default=3, help="timings of each; medians are given")
    add("--prompts", type=_count, default=128, help="of one timed generation")
    add("--n", type=_count, default=8, help="samples of each prompt")
    add("--prompt-tokens", type=_count, default=256, help="about so many in a question")
    add("--max-tokens", type=_count, default=256, help="of an answer; random weights write nearly all of them")  # fmt: skip
    add("--examples", type=_count, default=256, help="of one timed training")
    add("--batch-size", type=_count, default=16)
    add("--micro-batch-size", type=_count, default=8)
    add("--tasks", type=_count, default=1000, help="of the whole round")
    add("--no-defaults", action="store_true", help="leave out vLLM with its own settings")
    add("--set", action="append", default=[], metavar="section.key=value", help="override one config key; may be repeated")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
