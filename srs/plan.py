"""What a run would take: ``python -m srs.plan --config F.toml``.

Hours, device memory, disk and grading cores from measured rates, with the arithmetic shown, and which
resource binds. Nothing is loaded, downloaded or started.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srs.types import UserError

if TYPE_CHECKING:
    from srs.config import Config
    from srs.estimate.hardware import Hardware
    from srs.estimate.plan import Plan

DEFAULT_CONFIG = Path(__file__).parents[1] / "configs" / "tiny.toml"


def plan(arguments: argparse.Namespace) -> Plan:
    """Read what the command line names and do the arithmetic. Raises UserError."""
    from srs import config as configs
    from srs.device import Device
    from srs.engines.vllm_engine import MAX_SEQUENCES
    from srs.estimate import disk, fits, hours, rates, workload
    from srs.estimate.measured import of_run
    from srs.estimate.memory import ELEMENT_BYTES
    from srs.estimate.plan import Plan
    from srs.estimate.shape import find
    from srs.models import TINY
    from srs.placement import place

    overrides = list(arguments.set)
    if arguments.rounds is not None:
        overrides.append(f"run.rounds={arguments.rounds}")
    config = configs.load(arguments.config, overrides)
    if config.finetune.method not in ("lora", "dora"):
        raise UserError(
            f"finetune.method = {config.finetune.method}: the estimate is for lora and dora: "
            "add --set finetune.method=lora to plan as if it were that"
        )
    shape = find(config.model.path, arguments.shape, TINY)

    of_file, measured_on = (
        rates.of_benchmark(arguments.rates, shape) if arguments.rates else ({}, None)
    )
    device = _device(arguments, measured_on)
    kind = device.kind if device else "cpu"
    of_earlier = (
        of_run(arguments.measured, model=config.model.path, kind=kind) if arguments.measured else {}
    )
    if kind == "cpu" and arguments.devices > 1:
        raise UserError(
            "--devices: a CPU is one device: name another with --device, or leave it out"
        )
    machine = Device(
        kind=kind, indices=tuple(map(str, range(arguments.devices))) if kind != "cpu" else ()
    )
    placement = place(config.devices, machine)
    lora = shape.lora_parameters(config.finetune.lora_r, tuple(config.finetune.target_modules))
    auto = machine.dtype(config.model.dtype)
    sizes = rates.merged(
        rates.assumed(arguments.assume),
        of_earlier,
        of_file,
        rates.shipped(
            config.sandbox.timeout_s,
            config.generate.max_tokens,
            takes_turns=placement.takes_turns,
        ),
    )
    work = workload.workload(
        config, *_pool(config, arguments.tasks_count), rounds=config.run.rounds
    )
    engines = len(placement.generation)

    def share(sequences: int, engines: int) -> int:
        """What one of so many engines decodes at a time."""
        uses_transformers = config.generate.engine == "transformers"
        most = config.generate.batch_size if uses_transformers else MAX_SEQUENCES
        return min(most, math.ceil(sequences / engines))

    def rates_with(engines: int) -> rates.Rates:
        assumed = rates.roofline(
            shape,
            device,
            batch=share(work.drawn * config.generate.n, engines),
            evaluation_batch=share(work.held_out * max(1, config.eval.n), engines),
            context=sizes["prompt_tokens"].value + sizes["completion_tokens"].value,
            lora_parameters=lora,
            element_bytes=ELEMENT_BYTES[auto],
        )
        if "generate_tokens_per_s" in sizes:  # then it stands for evaluations as well
            assumed.pop("evaluate_tokens_per_s", None)
        return rates.merged(sizes, assumed)

    known = rates_with(engines)
    capacity = hours.Capacity(
        generating=sum(len(replica.indices) for replica in placement.generation) or 1,
        training=placement.train_processes if machine.indices else 1,
        cores=arguments.cores or config.sandbox.workers or os.cpu_count() or 1,
        overlaps=config.devices.async_rounds > 0,
        takes_turns=placement.takes_turns,
    )
    try:
        spent = hours.estimate(work, capacity, known)
    except hours.MissingRate as e:
        raise UserError(
            f"no rate for {e.name}: give --measured RUN_DIR, --rates FILE of scripts/bench_gpu.py, "
            f"--device NAME (one with a published peak) for an assumed one, or --assume {e.name}=NUMBER"
        ) from e

    def twice(name: str) -> float:
        more = dataclasses.replace(capacity, **{name: 2 * getattr(capacity, name)})
        found = rates_with(2 * engines) if name == "generating" else known
        return hours.estimate(work, more, found).total

    return Plan(
        config=config,
        shape=shape,
        device=device,
        n_devices=arguments.devices,
        work=work,
        capacity=capacity,
        rates=known,
        hours=spent,
        more={name: twice(name) for name in ("generating", "training", "cores")},
        cores_needed=hours.cores_needed(capacity, known),
        memory=fits.device_memory(
            config,
            shape,
            known,
            has_gib=device.memory_gib if device else None,
            auto_dtype=auto,
            sequences=share(work.drawn * config.generate.n, engines),
            takes_turns=placement.takes_turns,
            shared=kind == "cpu" or placement.takes_turns,
            sleeping=engines if placement.takes_turns and machine.sleeps else 0,
        ),
        disk_bytes=disk.disk(
            work,
            shape,
            known,
            rank=config.finetune.lora_r,
            targets=tuple(config.finetune.target_modules),
            element_bytes=ELEMENT_BYTES[auto],
            reviews=work.candidates // config.generate.n,
        ),
        disk_gib=arguments.disk_gib,
    )


def _pool(config: Config, tasks_count: int | None) -> tuple[int, int]:
    """Training and held-out tasks. Raises UserError when the source can't be counted here."""
    from srs.estimate.workload import divided
    from srs.models import TINY

    def lines(path: Path) -> int:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    if tasks_count is not None:
        return divided(config, tasks_count)
    source = Path(config.tasks.source)
    if config.tasks.source == "tiny":
        return lines(TINY.parent / "train.jsonl"), lines(TINY.parent / "held_out.jsonl")
    if source.suffix == ".jsonl" and source.is_file():
        return divided(config, lines(source))
    raise UserError(
        f"tasks.source = {config.tasks.source}: give --tasks-count, its number of tasks"
    )


def _device(arguments: argparse.Namespace, measured_on: Hardware | None) -> Hardware | None:
    """The one that is named, else that of the rates; None is a CPU. Raises UserError."""
    from srs.estimate.hardware import hardware

    name: str | None = arguments.device
    if name is None or (measured_on and measured_on.name.lower() == name.lower()):
        return measured_on
    device = hardware(name)
    if measured_on not in (None, device):
        raise UserError(
            f"{arguments.rates}: measured on {measured_on.name}, not on {name}: "
            "leave out --device, or measure there"
        )
    return device


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Exit 0, or 2 for unusable input."""
    arguments = _parser().parse_args(argv)
    try:
        found = plan(arguments)
        if arguments.json:
            from srs.estimate.plan import as_json

            text = json.dumps(as_json(found), indent=1) + "\n"
            partial = arguments.json.with_name(arguments.json.name + ".partial")
            try:
                partial.write_text(text, encoding="utf-8")
                partial.replace(arguments.json)
            except OSError as e:
                raise UserError(f"{arguments.json}: cannot be written: {e.strerror}") from e
    except UserError as e:
        print(f"srs.plan: {e}", file=sys.stderr)
        return 2
    from srs.estimate import page

    print(page.text(found))
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _gib(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srs.plan",
        description="Estimate hours, device memory, disk and grading cores of a run.",
    )
    add = parser.add_argument
    add("--config", type=Path, default=DEFAULT_CONFIG, metavar="F.toml", help=f"default: configs/{DEFAULT_CONFIG.name}")  # fmt: skip
    add("--tasks-count", type=_count, metavar="N", help="tasks of the source, held-out ones included")  # fmt: skip
    add("--rounds", type=int, metavar="N", help="run.rounds")
    add("--measured", type=Path, metavar="RUN_DIR", help="take rates from a run of the same model")
    add("--rates", type=Path, metavar="FILE", help="take rates from scripts/bench_gpu.py's file")
    add("--assume", action="append", default=[], metavar="name=number", help="set one rate by hand; may be repeated")  # fmt: skip
    add("--shape", metavar="NAME", help="a preset or a config.json; default: that of model.path")
    add("--device", metavar="NAME", help="such as L40S or 910B; default: that of --rates")
    add("--devices", type=_count, default=1, metavar="N", help="how many of them; default 1")
    add("--cores", type=_count, metavar="N", help="that grade; default: sandbox.workers, else this machine's")  # fmt: skip
    add("--disk-gib", type=_gib, metavar="GIB", help="free disk, to be compared with what is needed")  # fmt: skip
    add("--set", action="append", default=[], metavar="section.key=value", help="override one config key; may be repeated")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write everything here too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
