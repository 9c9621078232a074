"""Generation, training and sleep, measured. Each starts what it needs, and nothing of it is left when it returns."""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.gpu_bench.model import PROGRAM_CHARACTERS, lengthened
from srs import tasks as task_files
from srs.child import Child
from srs.config import Config, to_dict
from srs.device import Device
from srs.estimate.hardware import lora_flops_per_token, mfu, recognised
from srs.estimate.shape import Shape
from srs.finetune import open_tuner
from srs.generate import Generator, Policy, Request, Sampling, open_generator
from srs.prompts import answer
from srs.types import SftExample, Task, UserError, to_json

SWAPS = 5
WARM_UP = 8
"""Tasks answered, or examples trained on, before the clock starts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """What the parts share. ``repeats`` of each timing; figures are their medians."""

    config: Config
    shape: Shape
    device: Device
    device_name: str
    adapter: Path
    folder: Path
    tasks: Sequence[Task]
    repeats: int
    prompts: int
    prompt_tokens: int
    examples: int
    round_tasks: int

    @property
    def sampling(self) -> Sampling:
        g = self.config.generate
        return Sampling(n=g.n, temperature=g.temperature, top_p=g.top_p, max_tokens=g.max_tokens)

    def batch(self, number: int, size: int) -> list[Task]:
        """Tasks that no other batch has, as long as there are enough: engines remember prefixes."""
        chosen = [self.tasks[(number * size + i) % len(self.tasks)] for i in range(size)]
        return lengthened(chosen, self.prompt_tokens)

    def plain(self, target: str, **arguments: Any) -> Child:
        environment = {
            **self.device.environment(os.environ),
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": str(self.config.generate.kv_cache_gib),
            "VLLM_NO_USAGE_STATS": "1",
        }
        if arguments.get("same", True):  # as in our own generation process
            environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        return Child(
            target,
            f"scripts.gpu_bench.plain:{target}",
            {
                "config": to_dict(self.config),
                "device": dataclasses.asdict(self.device),
                **arguments,
            },
            environment=environment,
            log_path=self.folder / f"{target}.log",
        )


def generate(bench: Bench, *, defaults: bool) -> dict[str, Any]:
    """Tokens/s of our generator and of ``vllm.LLM.generate``, both under an adapter, n samples a prompt.

    ``raw`` is set up like our engine and seeds its requests as we do; ``raw_defaults`` has vLLM's own
    settings, no LoRA and no seeds. Ours includes rendering prompts, finding the code in the answers, and
    the way from process to process; raw gets encoded prompts.
    """
    found: dict[str, Any] = {}
    with open_generator(bench.config, bench.folder / "generate.log") as ours:
        start = time.perf_counter()
        ours.ready()
        found["start_up_s"] = time.perf_counter() - start
        described = ours.describe()
        answers(ours, bench, bench.batch(0, WARM_UP))
        timed = [
            answers(ours, bench, bench.batch(1 + i, bench.prompts)) for i in range(bench.repeats)
        ]
    found |= {"engine": described["engine"], "ours": _speed(timed)}
    variants = {"raw": True, "raw_defaults": False} if defaults else {"raw": True}
    for name, same in variants.items():
        with bench.plain("PlainVllm", same=same, sleep=False) as plain:
            found[f"{name}_start_up_s"] = plain.ready()["load_s"]

            def ask(tasks: Sequence[Task], plain: Child = plain) -> dict[str, Any]:
                result: dict[str, Any] = plain.call(
                    "generate", tasks=[to_json(t) for t in tasks], adapter=str(bench.adapter)
                )
                return result

            ask(bench.batch(0, WARM_UP))
            asked = [ask(bench.batch(1 + i, bench.prompts)) for i in range(bench.repeats)]
        found[name] = _speed([(a["tokens"], a["seconds"]) for a in asked])
        found["prompt_tokens"] = asked[0]["prompt_tokens"]
        found[f"ratio_to_{name}"] = found["ours"]["tokens_per_s"] / found[name]["tokens_per_s"]
    found |= {
        "prompts": bench.prompts,
        "n": bench.sampling.n,
        "max_tokens": bench.sampling.max_tokens,
    }
    return found  # fmt: skip


def train(bench: Bench) -> dict[str, Any]:
    """Tokens/s of one LoRA round, from the examples to the saved adapter, ours and a plain TRL script's.

    Tokens are those of prompts and completions, padding not counted. ``start_s``: what a training process
    takes beyond that when it trains once, as where generation and training take turns: its start, and
    how much longer than later ones its first training takes. MFU is None on a device that
    `srs.estimate.hardware` doesn't know.
    """
    chosen = _examples(bench, bench.examples)
    few = chosen[:WARM_UP]
    ours_s = []
    with open_tuner(bench.config, bench.folder / "finetune.log") as tuner:
        start = time.perf_counter()
        tuner.ready()
        start_up_s = time.perf_counter() - start
        out = bench.folder / "trained"
        for number, batch in enumerate([few, *[chosen] * bench.repeats]):
            shutil.rmtree(out, ignore_errors=True)
            start = time.perf_counter()
            result = tuner.sft(batch, start=None, out=out, seed=number)
            ours_s.append(time.perf_counter() - start)
        shutil.rmtree(out)
    with bench.plain("PlainTrl") as plain:
        plain.ready()

        def script(batch: Sequence[SftExample]) -> dict[str, Any]:
            said: dict[str, Any] = plain.call("train", examples=[to_json(e) for e in batch])
            return said

        first_tokens = script(few)["our_tokens"]
        asked = [script(chosen) for _ in range(bench.repeats)]
    if asked[0]["steps"] != result.n_steps:
        raise RuntimeError(f"{asked[0]['steps']} steps of TRL, {result.n_steps} of ours")
    ours = _speed([(asked[0]["our_tokens"], seconds) for seconds in ours_s[1:]])
    raw = _speed([(a["tokens"], a["seconds"]) for a in asked])
    mean = asked[0]["our_tokens"] / len(chosen) / bench.config.finetune.epochs
    tune = bench.config.finetune
    per_token = lora_flops_per_token(
        bench.shape, bench.shape.lora_parameters(tune.lora_r, tune.target_modules), mean
    )
    device = recognised(bench.device_name)
    peak = device.peak_flops if device else None
    return {
        "start_s": start_up_s + max(0.0, ours_s[0] - first_tokens / ours["tokens_per_s"]),
        "ours": ours,
        "raw": raw,
        "ratio_to_raw": ours["tokens_per_s"] / raw["tokens_per_s"],
        "flops_per_token": per_token,
        "peak_flops": peak,
        "mfu": mfu(ours["tokens_per_s"], per_token, peak),
        "mfu_raw": mfu(raw["tokens_per_s"], per_token, peak),
        "raw_peak_gib": asked[0]["peak_gib"],
        "examples": len(chosen),
        "steps": result.n_steps,
        "tokens_per_example": mean,
        "micro_batch_size": tune.micro_batch_size,
        "gradient_checkpointing": tune.gradient_checkpointing,
    }


def sleep(bench: Bench) -> dict[str, Any]:
    """Seconds to sleep and to wake, of vLLM itself; and what a new adapter costs our generator.

    ``engine_turn_s``: an engine gives its device up and is back, asleep where it sleeps, else started again.
    """
    found: dict[str, Any] = {"sleep_s": None, "wake_s": None}
    if bench.device.sleeps:
        with bench.plain("PlainVllm", same=True, sleep=True) as plain:
            naps = [
                plain.call("nap", adapter=str(bench.adapter)) for _ in range(1 + bench.repeats)
            ][1:]
        found = {key: statistics.median(nap[key] for nap in naps) for key in ("sleep_s", "wake_s")}
        found["canary_same"] = all(nap["same"] for nap in naps)
    else:
        found["reason"] = f"vLLM has no sleep mode that is used here on {bench.device.kind}"
    swaps = []
    with open_generator(bench.config, bench.folder / "generate.log") as ours:
        start = time.perf_counter()
        ours.ready()
        start_up_s = time.perf_counter() - start
        one = dataclasses.replace(bench.sampling, n=1, max_tokens=1)
        answers(ours, bench, bench.batch(0, 1), one)
        for number in range(SWAPS):
            copy = bench.folder / f"swap-{number}"
            shutil.copytree(bench.adapter, copy)
            tasks = bench.batch(number, 1)
            first, second = (answers(ours, bench, tasks, one, adapter=copy)[1] for _ in range(2))
            swaps.append(max(0.0, first - second))
    slept = found["sleep_s"] is not None
    return {
        **found,
        "engine_turn_s": found["sleep_s"] + found["wake_s"] if slept else start_up_s,
        "swap_s": statistics.median(swaps),
        "swaps_s": swaps,
    }


def answers(
    generator: Generator,
    bench: Bench,
    tasks: Sequence[Task],
    sampling: Sampling | None = None,
    *,
    adapter: Path | None = None,
) -> tuple[int, float]:
    """Tokens and seconds of one call of ours."""
    requests = [Request(task=task, seed=1000 * i) for i, task in enumerate(tasks)]
    start = time.perf_counter()
    candidates = list(
        generator.generate(
            requests,
            policy=Policy(name="bench", adapter=adapter or bench.adapter),
            sampling=sampling or bench.sampling,
            round=0,
        )
    )
    return sum(c.n_tokens for c in candidates), time.perf_counter() - start


def _examples(bench: Bench, count: int) -> list[SftExample]:
    """Long questions and, as answers, programs of neighbouring tasks of ``generate.max_tokens`` tokens."""
    wanted = int(bench.sampling.max_tokens * PROGRAM_CHARACTERS)
    tasks = bench.batch(0, count)
    found = []
    for place, task in enumerate(tasks):
        program, neighbour = "", place
        while len(program) < wanted:
            program += (tasks[neighbour % count].reference or "pass") + "\n"
            neighbour += 1
        found.append(
            SftExample(
                task=task.id,
                round=1,
                prompt=f"### Problem\n{task.question}\n\n### Answer\n",
                completion=answer(program[:wanted], chat=True),
                weight=1.0,
                source="reference",
            )
        )
    return found


def _speed(timed: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return {
        "tokens_per_s": statistics.median(tokens / seconds for tokens, seconds in timed),
        "tokens": [tokens for tokens, _ in timed],
        "seconds": [seconds for _, seconds in timed],
    }


def tiny_tasks() -> list[Task]:
    """The training tasks that ship with the package. Raises UserError when there are none."""
    found = task_files.load(Config().tasks).train
    if not found:
        raise UserError("the tasks that ship with the package are missing")
    return found
