"""The GPU benchmark's own way through the code, on a CPU at the tiny shape."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.bench_gpu import read, record
from scripts.gpu_bench import whole_round
from scripts.gpu_bench.model import lengthened, write_tokenizer
from scripts.gpu_bench.parts import Bench, tiny_tasks
from srs.config import Config, override
from srs.device import Device
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
    assert device == "CPU"
    assert known["generate_tokens_per_s"].value == found["ours"]["tokens_per_s"]


def test_our_training_beside_a_plain_trl_script(rates: Path) -> None:
    found = part(rates, "train")
    assert found["steps"] == 2
    assert found["ours"]["tokens"] == found["raw"]["tokens"]  # the same rows, encoded by either
    assert found["mfu"] is None  # a CPU has no published peak
    known, _ = of_benchmark(rates, find("tiny", None, TINY))
    assert known["train_tokens_per_s"].value == found["ours"]["tokens_per_s"]


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


def test_a_whole_round_grades_programs_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models aside, which a random model's answers would keep idle: a real sandbox and verdicts."""
    writer = Writer()
    monkeypatch.setattr(whole_round, "open_generator", lambda *_: writer)
    monkeypatch.setattr(whole_round, "open_tuner", lambda *_: writer)
    config = override(Config(), ["sandbox.backend=process", "sandbox.workers=1", "generate.n=2"])
    found = whole_round.whole_round(
        Bench(
            config=config,
            shape=find("tiny", None, TINY),
            device=Device(kind="cpu"),
            device_name="CPU",
            adapter=tmp_path / "adapter",
            folder=tmp_path,
            tasks=tiny_tasks()[:8],
            repeats=1,
            prompts=4,
            prompt_tokens=100,
            examples=4,
            round_tasks=4,
        )
    )
    assert found["candidates"] == found["passed"] == 4 * 2
    assert found["tokens"] == 5 * 4 * 2
    assert found["seconds"] == pytest.approx(found["rollout_s"] + found["train_s"])
    assert len(writer.trained) == 4
    assert all("nonsense" not in example.completion for example in writer.trained)
    assert all(len(example.prompt) > 400 for example in writer.trained)


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
    record(found, "s", "sleep", {"sleep_s": 1.0, "wake_s": 2.0, "swap_s": 0.5}, {"python": "3"})
    record(found, "s", "generate", {"ours": {"tokens_per_s": 7.0}, "start_up_s": 9.0}, {})
    assert found["rates"]["s"] == {
        "round_overhead_s": 3.5, "generate_tokens_per_s": 7.0, "start_up_s": 9.0,
    }  # fmt: skip
    record(found, "s", "sleep", {"sleep_s": None, "wake_s": None, "swap_s": 0.5}, {})
    assert found["rates"]["s"]["round_overhead_s"] == 0.5
    out.write_text(json.dumps(found))
    assert read(out, {"name": "A", "memory_gib": 1.0}) == found
    with pytest.raises(UserError, match="not a rates file of B"):
        read(out, {"name": "B", "memory_gib": 1.0})
    out.write_text("{")
    with pytest.raises(UserError, match="readable"):
        read(out, {"name": "A", "memory_gib": 1.0})
