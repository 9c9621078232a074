import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evaluator.options import ks_of, read_adapter
from evaluator.results import read_json, read_lines
from evaluator.run import main
from srs.types import UserError

ROOT = Path(__file__).parents[2]
HELD_OUT = ROOT / "srs" / "tiny" / "held_out.jsonl"
BODY = "    return 2 * x\n"
ROWS: list[dict[str, Any]] = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f'def double_{i}(x):\n    """Twice x."""\n',
        "canonical_solution": BODY,
        "entry_point": f"double_{i}",
        "test": "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(3) == 6\n",
    }
    for i in range(4)
]
ROWS[3]["canonical_solution"] = "    return x\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(signal, "signal", lambda *_: handler)  # the test's own stays


@pytest.fixture
def humaneval(tmp_path: Path) -> Path:
    path = tmp_path / "humaneval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def grade_only(benchmark: Path, answers: Path, out: Path, *more: str) -> list[str]:
    return [
        "--benchmark", f"h={benchmark}", "--grade-only", str(answers), "--out", str(out),
        "--sandbox", "process", *more,
    ]  # fmt: skip


def test_answers_from_a_file(
    humaneval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """3 tasks count, 2 samples: (pass, fail), (no code, pass), (pass, pass)."""
    answers = [
        [BODY, "    return x\n"],
        ["I don't know.", "```python\ndef double_1(x):\n    return x + x\n```"],
        [BODY, ROWS[2]["prompt"] + BODY],
        [BODY, BODY],
    ]
    path = tmp_path / "generations.json"
    path.write_text(json.dumps(answers))
    out = tmp_path / "out"
    assert main(grade_only(humaneval, path, out, "--k", "1,2")) == 0
    summary = read_json(out / "summary.json")["benchmarks"]["h"]
    assert summary["dropped"] == ["HumanEval/3"]
    (dropped,) = read_lines(out / "h/tasks_dropped.jsonl")
    assert "assert 1 == 2" in dropped["reason"]
    scores = summary["sets"]["given"]
    assert scores["pass_at_k"]["1"]["value"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert scores["pass_at_k"]["2"]["value"] == 1.0
    assert scores["format_error_rate"] == pytest.approx(1 / 6)
    assert scores["outcomes"] == {"passed": 4, "failed": 1, "no_code": 1}
    rows = read_lines(out / "h/given/tasks.jsonl")
    assert [(r["task"], r["passed"], r["n"]) for r in rows] == [
        ("HumanEval/0", 1, 2), ("HumanEval/1", 1, 2), ("HumanEval/2", 2, 2),
    ]  # fmt: skip
    assert rows[0]["detail"].startswith("[1] failed: test_check")
    assert rows[1]["detail"] == "[0] no_code: no Python code that parses"
    output = capsys.readouterr().out
    assert "h: 3 tasks scored, 1 dropped because their reference fails" in output
    assert "pass@1 66.7% [50.0, 100.0]  pass@2 100.0% [43.9, 100.0]" in output

    files = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert main(grade_only(humaneval, path, out, "--k", "1,2")) == 0, "again: nothing is left to do"
    assert {p: p.read_bytes() for p in files} == files
    assert capsys.readouterr().out == output

    path.write_text(json.dumps([*answers[:3], [BODY, "changed"]]))
    assert main(grade_only(humaneval, path, out)) == 2
    assert "was begun with answers.h.sha256" in capsys.readouterr().err


def test_samples_of_evalplus_and_a_limit(humaneval: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [
        {"task_id": "HumanEval/1", "completion": BODY},
        {"task_id": "HumanEval/0", "solution": "def double_0(x):\n    return x\n"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    assert main(grade_only(humaneval, path, out, "--limit", "2")) == 0
    assert [r["passed"] for r in read_lines(out / "h/given/tasks.jsonl")] == [0, 1]


def test_grading_goes_on_where_it_stopped(humaneval: Path, tmp_path: Path) -> None:
    """A verdict that stands is kept, not made again; a line cut short by a kill is."""
    path, out = tmp_path / "generations.json", tmp_path / "out"
    path.write_text(json.dumps([[BODY]] * 4))
    assert main(grade_only(humaneval, path, out)) == 0
    log = out / "h/given/verdicts.jsonl"
    first, *_ = log.read_text().splitlines()
    kept = json.dumps({**json.loads(first), "outcome": "failed", "detail": "from before"})
    log.write_text(kept + "\n" + first[:40])
    assert main(grade_only(humaneval, path, out)) == 0
    rows = read_lines(out / "h/given/tasks.jsonl")
    assert [r["passed"] for r in rows] == [0, 1, 1]
    assert rows[0]["detail"] == "[0] failed: from before"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark", "h={b}"], "--model is missing"),
        (["--benchmark", "{b}", "--model", "tiny"], "write it as NAME=FILE"),
        (["--benchmark", "h={b}", "--benchmark", "h={b}", "--model", "tiny"], "--benchmark h: given twice"),
        (["--benchmark", "h=gone.jsonl", "--model", "tiny"], "gone.jsonl: no such file"),
        (["--benchmark", "h={b}", "--model", "tiny", "--n", "-1"], "--n -1: must be 0 or more"),
        (["--benchmark", "h={b}", "--model", "tiny", "--n", "2", "--k", "1,5"], "--k 5: needs --n 5 or more; there are 2"),
        (["--benchmark", "h={b}", "--model", "tiny", "--k", "x"], "--k x: write numbers"),
        (["--benchmark", "h={b}", "--model", "tiny", "--temperature", "0"], "--temperature 0.0: must be above 0"),
        (["--benchmark", "h={b}", "--model", "tiny", "--adapter", "gone"], "holds no adapter_config.json"),
        (["--benchmark", "h={b}", "--model", "./gone"], "model.path: gone does not exist"),
        (["--benchmark", "h={b}", "--model", "tiny", "--set", "generate.maxtokens=3"], "did you mean"),
        (["--benchmark", "h={b}", "--grade-only", "x=gone.json"], "gone.json: cannot read the answers"),
        (["--benchmark", "h={b}", "--benchmark", "m={b}", "--grade-only", "g.json"], "with several benchmarks write it as NAME=FILE"),
        (["--benchmark", "h={b}", "--benchmark", "m={b}", "--grade-only", "m=g.json"], "--grade-only: no file for h"),
    ],
)  # fmt: skip
def test_unusable_input_is_named(
    humaneval: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    filled = [a.replace("{b}", str(humaneval)) for a in arguments]
    assert main([*filled, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_benchmark_without_a_working_reference_is_refused(
    humaneval: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    humaneval.write_text(json.dumps(ROWS[3]) + "\n")
    (tmp_path / "g.json").write_text(json.dumps([[BODY]]))
    assert main(grade_only(humaneval, tmp_path / "g.json", tmp_path / "out")) == 2
    assert "no task is left whose reference passes; HumanEval/3: test_check" in capsys.readouterr().err  # fmt: skip


def test_a_broken_sandbox_is_no_verdict(
    humaneval: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    path, out = tmp_path / "generations.json", tmp_path / "out"
    path.write_text(json.dumps([[BODY]] * 4))
    assert main([*grade_only(humaneval, path, out), "--sandbox", "docker"]) == 3
    assert "the sandbox failed" in capsys.readouterr().err
    assert not (out / "h").exists()
    assert main(grade_only(humaneval, path, out)) == 0, "where one works, it goes on"


def test_the_ks() -> None:
    assert ks_of(None, 10) == [1, 5, 10]
    assert ks_of(None, 7) == [1, 5]
    assert ks_of("10,2,2", 10) == [2, 10]
    with pytest.raises(UserError, match="--k 0"):
        ks_of("0", 10)


def test_an_adapter_brings_its_rank(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    with pytest.raises(UserError, match="not a LoRA adapter"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    found = read_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"other weights")
    assert found.rank == 16
    assert read_adapter(tmp_path).sha256 != found.sha256


# With the tiny model.

TINY = (
    "--model", "tiny", "--benchmark", f"tiny={HELD_OUT}", "--limit", "40", "--n", "2", "--sandbox",
    "process", "--engine", "transformers", "--set", "generate.max_tokens=48",
)  # fmt: skip
MOMENTS = {
    "tiny/tasks_dropped.jsonl": signal.SIGINT,
    "tiny/sampled/answers.jsonl": signal.SIGKILL,
    "tiny/greedy/verdicts.jsonl": signal.SIGKILL,
}
"""The command is ended in this way as soon as each of these appears."""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**os.environ, "SRS_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}


def start(out: Path, env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "evaluator.run", *arguments, "--out", str(out)],
        env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    finish(start(out, env, *TINY))
    return out


def contents(out: Path) -> dict[str, Any]:
    """Everything but what tells how long it took or when."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "verdicts.jsonl":
            rows = [{**row, "wall_s": 0} for row in read_lines(path)]
            found[name] = sorted(rows, key=lambda row: (row["task"], row["index"]))
        elif path.is_file() and path.name not in ("environment.json", "generate.log"):
            found[name] = path.read_bytes()
    return found


def test_the_tiny_model(uninterrupted: Path) -> None:
    summary = read_json(uninterrupted / "summary.json")["benchmarks"]["tiny"]
    assert summary["dropped"] == []
    greedy, sampled = summary["sets"]["greedy"], summary["sets"]["sampled"]
    assert (greedy["n"], greedy["answers"], list(greedy["pass_at_k"])) == (1, 40, ["1"])
    assert (sampled["n"], sampled["answers"]) == (2, 80)
    assert sampled["outcomes"]["passed"] > 0
    assert len(read_json(uninterrupted / "tiny/sampled/generations.json")) == 40
    assert len(read_lines(uninterrupted / "tiny/sampled/samples.jsonl")) == 80
    environment = read_json(uninterrupted / "environment.json")
    assert environment["generator"]["engine"] == "transformers"
    assert environment["sandbox"]["identity"].startswith("process")


def test_its_answers_graded_from_a_file_get_the_same_verdicts(
    uninterrupted: Path, tmp_path: Path
) -> None:
    for file in ("generations.json", "samples.jsonl"):
        out = tmp_path / file
        arguments = grade_only(HELD_OUT, uninterrupted / "tiny/sampled" / file, out)
        assert main([*arguments, "--limit", "40"]) == 0
        again = read_lines(out / "h/given/tasks.jsonl")
        before = read_lines(uninterrupted / "tiny/sampled/tasks.jsonl")
        key = ("task", "n", "passed", "outcomes", "detail")
        assert [[r[k] for k in key] for r in again] == [[r[k] for k in key] for r in before]


def test_killed_and_given_again_it_is_the_same(
    tmp_path: Path, uninterrupted: Path, env: dict[str, str]
) -> None:
    out = tmp_path / "out"
    for moment, how in MOMENTS.items():
        process = start(out, env, *TINY)
        while process.poll() is None and not (out / moment).exists():
            time.sleep(0.005)
        process.send_signal(how)
        output, _ = process.communicate()
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "interrupted; give the same command again to continue" in output
            assert "Traceback" not in output
        assert not (out / "summary.json").exists()
    finish(start(out, env, *TINY))
    assert contents(out) == contents(uninterrupted)


def test_generated_now_and_graded_later(
    tmp_path: Path, uninterrupted: Path, env: dict[str, str]
) -> None:
    out = tmp_path / "out"
    output = finish(start(out, env, *TINY, "--generate-only"))
    assert "without --generate-only they are graded" in output
    assert not (out / "tiny/tasks_dropped.jsonl").exists()
    assert main([*TINY, "--out", str(out)]) == 0
    assert contents(out) == contents(uninterrupted)
