"""The GPU benchmark's own way through the code, on a CPU at the tiny shape."""

import dataclasses
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.bench_gpu import read, record
from scripts.gpu_bench import parts, whole_round
from scripts.gpu_bench.model import ModelMaker, lengthened, write_tokenizer
from scripts.gpu_bench.parts import Bench, tiny_tasks
from scripts.gpu_bench.plain import PlainVllm
from srs import models
from srs.config import Config, override
from srs.device import Device
from srs.engines.canary import Canary
from srs.engines.engine import Prompt
from srs.engines.transformers_engine import TransformersEngine
from srs.estimate.rates import of_benchmark
from srs.estimate.shape import find
from srs.finetune import SftResult
from srs.generate import Policy, Request, Sampling
from srs.models import TINY
from srs.types import Candidate, SftExample, UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_gpu.py"
SMALL = (
    "--device", "cpu", "--shape", "tiny", "--repeats", "1", "--prompts", "4", "--n", "2",
    "--max-tokens", "16", "--prompt-tokens", "48", "--examples", "8", "--batch-size", "4",
    "--micro-batch-size", "4", "--no-defaults", "--set", "model.dtype=float32",
)  # fmt: skip


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file after a real run of two parts: five processes with a model, one after another."""
    out = tmp_path_factory.mktemp("bench-gpu") / "rates.json"
    done = bench(*SMALL, "--only", "generate", "--only", "train", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "ratio_to_raw" in done.stdout
    return out


def part(rates: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rates.read_text())["parts"]["tiny"][name]
    assert found["environment"]["packages"]["torch"]
    return found


def test_our_generator_beside_plain_vllm(rates: Path) -> None:
    found = part(rates, "generate")
    assert found["engine"] == "vllm"
    for name in ("ours", "raw"):
        (tokens,), (seconds,) = found[name]["tokens"], found[name]["seconds"]
        assert 0 < tokens <= 4 * 2 * 16
        assert found[name]["tokens_per_s"] == pytest.approx(tokens / seconds)
    ratio = found["ours"]["tokens_per_s"] / found["raw"]["tokens_per_s"]
    assert found["ratio_to_raw"] == pytest.approx(ratio)
    known, device = of_benchmark(rates, find("tiny", None, TINY))
    assert device.name == "CPU"
    assert known["generate_tokens_per_s"].value == found["ours"]["tokens_per_s"]


def test_our_training_beside_a_plain_trl_script(rates: Path) -> None:
    found = part(rates, "train")
    assert found["steps"] == 2
    assert found["ours"]["tokens"] == found["raw"]["tokens"]  # the same rows, encoded by either
    assert found["mfu"] is None  # a CPU has no published peak
    known, _ = of_benchmark(rates, find("tiny", None, TINY))
    assert known["train_tokens_per_s"].value == found["ours"]["tokens_per_s"]
    assert known["train_start_s"].value == found["start_s"] > 0


class Writer:
    """In the place of both model processes: answers without code, and no training."""

    engine, chat = "fake", True

    def __init__(self, *_: object) -> None:
        self.trained: list[SftExample] = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None: ...

    def ready(self) -> None: ...

    def generate(
        self, requests: Sequence[Request], *, policy: Policy, sampling: Sampling, round: int
    ) -> Iterator[Candidate]:
        for request in requests:
            for index in range(sampling.n):
                yield Candidate(
                    task=request.task.id,
                    round=round,
                    index=index,
                    prompt=request.task.question,
                    completion="nonsense",
                    code=None,
                    policy=policy.name,
                    seed=request.seed + index,
                    n_tokens=5,
                    truncated=True,
                )

    def sft(self, examples: Sequence[SftExample], **_: object) -> SftResult:
        self.trained += examples
        return SftResult(loss=1.0, n_tokens=7, n_steps=1)


def small_bench(folder: Path, **changes: Any) -> Bench:
    sets = ["sandbox.backend=process", "sandbox.workers=1", "generate.n=2"]
    bench = Bench(
        config=override(Config(), sets),
        shape=find("tiny", None, TINY),
        device=Device(kind="cpu"),
        device_name="CPU",
        adapter=folder / "adapter",
        folder=folder,
        tasks=tiny_tasks()[:8],
        repeats=1,
        prompts=4,
        prompt_tokens=100,
        examples=4,
        round_tasks=4,
    )
    return dataclasses.replace(bench, **changes)


def test_a_whole_round_grades_programs_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models aside, which a random model's answers would keep idle: a real sandbox and verdicts."""
    writer = Writer()
    monkeypatch.setattr(whole_round, "open_generator", lambda *_: writer)
    monkeypatch.setattr(whole_round, "open_tuner", lambda *_: writer)
    found = whole_round.whole_round(small_bench(tmp_path))
    assert found["candidates"] == found["passed"] == 4 * 2
    assert found["tokens"] == 5 * 4 * 2
    assert found["seconds"] == pytest.approx(found["rollout_s"] + found["train_s"])
    assert len(writer.trained) == 4
    assert all("nonsense" not in example.completion for example in writer.trained)
    assert all(len(example.prompt) > 400 for example in writer.trained)


class Plain:
    """In the place of a plain script's process: ``calls`` says what each call returns."""

    def __init__(self, **calls: Any) -> None:
        self.calls = calls

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None: ...

    def ready(self) -> dict[str, Any]:
        return {"load_s": 1.0}

    def call(self, name: str, **_: object) -> Any:
        return self.calls[name]


@pytest.mark.parametrize("name", ["NVIDIA RTX A6000", "NVIDIA GH200 480GB"])
def test_training_is_timed_on_a_device_without_a_known_peak(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"seconds": 2.0, "our_tokens": 100, "tokens": 100, "steps": 1, "peak_gib": None}
    monkeypatch.setattr(parts, "open_tuner", lambda *_: Trainer())
    monkeypatch.setattr(Bench, "plain", lambda *_, **__: Plain(train=said))
    found = parts.train(small_bench(tmp_path, device_name=name))
    assert found["raw"]["tokens_per_s"] == 50
    assert found["peak_flops"] is found["mfu"] is found["mfu_raw"] is None
    known = parts.train(small_bench(tmp_path, device_name="NVIDIA H200"))
    assert known["mfu_raw"] == pytest.approx(50 * known["flops_per_token"] / 989e12)


class Trainer(Writer):
    def sft(self, examples: Sequence[SftExample], **where: object) -> SftResult:
        assert isinstance(where["out"], Path)
        where["out"].mkdir()
        return super().sft(examples)


@pytest.mark.parametrize("kind", ["cuda", "npu"])
def test_an_engines_turn_is_sleep_and_wake_or_a_new_start(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nap = {"sleep_s": 2.0, "wake_s": 3.0, "same": True}
    monkeypatch.setattr(parts, "open_generator", lambda *_: SlowStarter())
    monkeypatch.setattr(Bench, "plain", lambda *_, **__: Plain(nap=nap))
    (tmp_path / "adapter").mkdir()
    found = parts.sleep(small_bench(tmp_path, device=Device(kind=kind, indices=("0",))))
    if kind == "cuda":
        assert found["engine_turn_s"] == 5.0
        assert found["canary_same"]
    else:
        assert 0.2 <= found["engine_turn_s"] < 2.0
        assert found["sleep_s"] is None


class SlowStarter(Writer):
    def ready(self) -> None:
        time.sleep(0.2)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ModelMaker leaves at the tiny shape: ``model`` and ``adapter``."""
    folder = tmp_path_factory.mktemp("random") / "tiny"
    shape = dataclasses.asdict(find("tiny", None, TINY))
    ModelMaker(shape, str(folder), dataclasses.asdict(Device(kind="cpu")), rank=8)
    return folder


class Forgetful:
    """An ``LLM`` on transformers, whose adapters are gone once it slept if ``forgets``."""

    def __init__(self, folder: Path, *, forgets: bool) -> None:
        config = override(Config(), [f"model.path={folder / 'model'}", "model.dtype=float32"]).model
        source = models.locate(config)
        self.tokenizer = models.load_tokenizer(source, config)
        self.engine = TransformersEngine(
            models.load_model(source, config, Device(kind="cpu")),
            self.tokenizer,
            batch_size=8,
            ends=[],
            stops=(),
        )
        self.forgets, self.has_slept = forgets, False

    def sleep(self, level: int) -> None:
        assert level == 1
        self.has_slept = True

    def wake_up(self) -> None: ...

    def reset_prefix_cache(self) -> None: ...

    def generate(
        self,
        prompts: Sequence[Any],
        parameters: Sequence[Any],
        *,
        lora_request: Any,
        use_tqdm: bool,
    ) -> list[Any]:
        assert not use_tqdm
        (prompt,), (asked,) = prompts, parameters
        lost = self.forgets and self.has_slept
        ((_, samples),) = self.engine.sample(
            [Prompt(ids=prompt["prompt_token_ids"], seed=asked.seed, max_tokens=asked.max_tokens)],
            adapter=None if lost else Path(lora_request.lora_path),
            n=asked.n,
            temperature=asked.temperature,
            top_p=asked.top_p,
        )
        outputs = [
            types.SimpleNamespace(text=s.text, token_ids=[0] * s.n_tokens, finish_reason="length")
            for s in samples
        ]
        return [types.SimpleNamespace(outputs=outputs)]


@pytest.mark.parametrize("forgets", [False, True])
def test_the_canary_notices_a_lost_adapter(forgets: bool, random_model: Path) -> None:
    plain = PlainVllm.__new__(PlainVllm)  # vLLM's CPU build doesn't sleep
    plain.llm = Forgetful(random_model, forgets=forgets)
    plain.ends = []
    sampler: Any = plain
    plain.canary = Canary(sampler, plain.llm.tokenizer)
    (found,) = plain.nap(adapter=str(random_model / "adapter"))
    assert found["same"] is not forgets


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = bench("--out", str(tmp_path / "rates.json"), CUDA_VISIBLE_DEVICES="", ASCEND_RT_VISIBLE_DEVICES="")  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: no GPU")
    assert not list(tmp_path.iterdir())


def test_every_token_of_a_large_vocabulary_becomes_text(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tmp_path, 5000)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    auto: Any = AutoTokenizer
    filled, tiny = auto.from_pretrained(str(tmp_path)), auto.from_pretrained(str(TINY))
    assert len(filled) == 5000
    words = [filled.decode([number]) for number in range(len(tiny), 5000)]
    assert all(words)
    assert len(set(words)) == len(words)
    text = "def add(x):\n    return sorted(x)\n"
    assert filled.encode(text) == tiny.encode(text)


def test_prompts_have_the_length_asked_for() -> None:
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    tokenizer = auto.from_pretrained(str(TINY))
    for task in lengthened(tiny_tasks()[:20], 300):
        assert len(tokenizer.encode(task.question)) == pytest.approx(300, rel=0.15)


def test_parts_are_added_to_one_file_of_one_device(tmp_path: Path) -> None:
    out = tmp_path / "rates.json"
    found = read(out, {"name": "A", "memory_gib": 1.0})
    record(found, "s", "sleep", {"engine_turn_s": 3.0, "swap_s": 0.5}, {"python": "3"})
    record(found, "s", "generate", {"ours": {"tokens_per_s": 7.0}, "start_up_s": 9.0}, {})
    record(found, "s", "train", {"ours": {"tokens_per_s": 5.0}, "start_s": 12.0}, {})
    assert found["rates"]["s"] == {
        "engine_turn_s": 3.0, "round_overhead_s": 0.5, "generate_tokens_per_s": 7.0,
        "start_up_s": 9.0, "train_tokens_per_s": 5.0, "train_start_s": 12.0,
    }  # fmt: skip
    out.write_text(json.dumps(found))
    assert read(out, {"name": "A", "memory_gib": 1.0}) == found
    with pytest.raises(UserError, match="not a rates file of B"):
        read(out, {"name": "B", "memory_gib": 1.0})
    out.write_text("{")
    with pytest.raises(UserError, match="readable"):
        read(out, {"name": "A", "memory_gib": 1.0})
