import functools
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from evaluator import rewards
from evaluator.grade import grade_batch
from evaluator.reference import verify
from evaluator.rewards import RewardFunction, make_reward, pytest_reward
from sandbox import docker
from sandbox.pool import open_sandbox
from sandbox.runner import Sandbox, SandboxConfig, SandboxError
from srs import kodcode
from srs.prompts import extract_code
from srs.types import Candidate, UserError, Verdict

ROOT = Path(__file__).parents[2]
TINY = ROOT / "srs" / "tiny"
CONFIG = SandboxConfig(backend="process", workers=2, timeout_s=20)
TEST = "def test_one():\n    assert double(1) == 2\n\ndef test_zero():\n    assert double(0) == 0\n"
GOOD, BAD = "def double(x):\n    return 2 * x\n", "def double(x):\n    return x\n"
ROW = {"question_id": "T_1_I", "test": TEST, "solution": GOOD, "style": "instruct"}


def columns(*rows: dict[str, Any]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


def rewarded(function: RewardFunction, *completions: Any, **row: Any) -> list[float | None]:
    """The rewards of several answers to one row."""
    given = columns(*[{**ROW, **row}] * len(completions))
    return function(prompts=["p"] * len(completions), completions=completions, **given)


@pytest.fixture(scope="module", params=["process", "docker"])
def graded(request: pytest.FixtureRequest) -> RewardFunction:
    if request.param == "docker" and (reason := docker.unavailable(SandboxConfig())):
        if os.environ.get("CI"):
            pytest.fail(f"CI must run the Docker tests: {reason}")
        pytest.skip(f"no Docker sandbox here: {reason}")
    return make_reward(SandboxConfig(backend=request.param, workers=2, timeout_s=20))


@pytest.fixture(scope="module")
def partial() -> RewardFunction:
    return make_reward(CONFIG, partial=True)


def test_texts_and_messages(graded: RewardFunction) -> None:
    said = f"Here it is:\n```python\n{GOOD}```\n"
    messages = [
        {"role": "assistant", "content": "Let me think."},
        {"role": "tool", "content": BAD},
        {"role": "assistant", "content": said},
    ]
    parts = [{"role": "assistant", "content": [{"type": "text", "text": f"```python\n{BAD}```"}]}]
    assert rewarded(graded, GOOD, BAD, said, messages, parts, "Sorry.", []) == [
        1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def test_rows_in_one_batch_keep_their_own_tests(graded: RewardFunction) -> None:
    """Other columns of a trainer, another shape of test, and equal names are no matter."""
    other = {**ROW, "test": TEST.replace("== 2", "== 1"), "solution": BAD}
    cases = {"stdin": ["2\n", "5\n"], "stdout": ["4\n", "10\n"]}
    script = {"question_id": "T_2_OJ", "test": json.dumps(cases), "solution": None, "style": "online_judge"}  # fmt: skip
    given = columns(ROW, other, ROW, other, script, script)
    completions = [GOOD, GOOD, BAD, BAD, "print(2 * int(input()))", "print(4)"]
    assert graded(["p"] * 6, completions, trainer_state=object(), answer=["?"] * 6, **given) == [
        1.0, 0.0, 0.0, 1.0, 1.0, 0.0,
    ]  # fmt: skip
    older = {"question_id": "T_3_I", "test_code": TEST}
    assert graded(["p"], [GOOD], **columns(older)) == [1.0]


def test_the_reference_says_what_may_be_skipped(graded: RewardFunction) -> None:
    skip = "\nimport pytest\n\ndef test_skip():\n    pytest.skip('not here')\n"
    assert rewarded(graded, GOOD, test=TEST + skip) == [1.0]
    assert rewarded(graded, GOOD, test=TEST + skip, solution=None) == [0.0]


def test_partial_is_the_share_of_tests(partial: RewardFunction) -> None:
    stops = "import os\nn = 0\ndef double(x):\n    global n\n    n += 1\n    return 2 * x if n < 2 else os._exit(0)\n"
    assert rewarded(partial, GOOD, BAD, "x = 1", "no code", stops) == [1.0, 0.5, 0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("outcome", "n_passed", "n_collected", "expected"),
    [
        ("passed", 2, 2, 1.0),
        ("failed", 2, 2, 0.0),
        ("timeout", 1, 4, 0.25),
        ("error", 1, 2, 0.0),
        ("tampered", 1, 2, 0.0),
        ("no_code", 0, 0, 0.0),
    ],
)
def test_only_a_pass_is_worth_one(
    outcome: Any, n_passed: int, n_collected: int, expected: float
) -> None:
    verdict = Verdict(
        task="t", round=0, index=0, outcome=outcome, n_passed=n_passed, n_collected=n_collected, wall_s=0
    )  # fmt: skip
    assert rewards._reward(verdict, partial=True) == expected
    assert rewards._reward(verdict, partial=False) == float(outcome == "passed")


def test_rows_without_a_test_get_none_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    reward = make_reward(CONFIG)
    without = {**ROW, "test": None}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert reward(["p"] * 3, [GOOD] * 3, **columns(without, ROW, without)) == [None, 1.0, None]  # fmt: skip
    said = [r.getMessage() for r in caplog.records]
    assert [m for m in said if "rows" in m] == [
        "2 of 3 rows have no test: their reward is None (said once)"
    ]
    assert len([m for m in said if "not covered: memory is limited per process" in m]) == 1


OWN_COPY = "def double(x):\n    return 2 * x\n\n" + TEST
MUTE = "def test_a():\n    class G(F):\n        pass\n    G()\n"


@pytest.mark.parametrize(
    ("test", "solution", "why"),
    [(OWN_COPY, GOOD, "carry their own copy"), (MUTE, "class F:\n    pass\n", "can't tell")],
    ids=["own copy", "mute"],
)
def test_tests_that_say_nothing_give_no_reward(
    caplog: pytest.LogCaptureFixture, test: str, solution: str, why: str
) -> None:
    reward = make_reward(CONFIG)
    mute = {**ROW, "test": test, "solution": solution}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            given = columns(mute, ROW, mute, ROW)
            assert reward(["p"] * 4, [solution, GOOD, BAD, BAD], **given) == [None, 1.0, None, 0.0]
    (said,) = [r.getMessage() for r in caplog.records if "rows" in r.getMessage()]
    assert said.startswith("2 of 4 rows can't be judged (its tests ")
    assert why in said
    assert "reference fails" not in caplog.text


def test_unusable_data_is_the_users_error() -> None:
    with pytest.raises(UserError, match="no column test or test_code"):
        pytest_reward(["p"], [GOOD], question_id=["T_1_I"])
    with pytest.raises(UserError, match="column test: 1 entries for 2"):
        pytest_reward(["p"] * 2, [GOOD] * 2, test=[TEST])
    with pytest.raises(UserError, match="T_1_OJ: cannot be graded: test"):
        pytest_reward(["p"], [GOOD], question_id=["T_1_OJ"], test=["nonsense"])


def test_a_broken_sandbox_is_no_reward_and_the_next_call_opens_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Sandbox] = []

    def remembered(config: SandboxConfig) -> Sandbox:
        opened.append(open_sandbox(config))
        return opened[-1]

    monkeypatch.setattr(rewards, "open_sandbox", remembered)
    reward = make_reward(CONFIG)
    assert rewarded(reward, GOOD) == rewarded(reward, GOOD) == [1.0]

    def broken(*_: Any, **__: Any) -> Any:
        raise SandboxError("two workers failed on one job")

    with monkeypatch.context() as patch:
        patch.setattr(rewards, "grade_batch", broken)
        with pytest.raises(SandboxError, match="two workers"):
            rewarded(reward, GOOD)
    assert rewarded(reward, GOOD, BAD) == [1.0, 0.0]
    assert len(opened) == 2
    with pytest.raises(SandboxError):
        rewarded(make_reward(SandboxConfig(backend="docker", image="no/such:image")), GOOD)


def test_names_for_the_log_and_for_other_processes() -> None:
    assert pytest_reward.__name__ == "pytest_reward"
    assert make_reward(CONFIG, partial=True).__name__ == "pytest_reward_partial"
    assert pickle.loads(pickle.dumps(pytest_reward)) is pytest_reward


def test_threads_share_one_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def counted(config: SandboxConfig) -> Sandbox:
        opened.append(config)
        return open_sandbox(config)

    monkeypatch.setattr(rewards, "open_sandbox", counted)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    reward = make_reward(SandboxConfig(backend="process", timeout_s=20))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: rewarded(reward, GOOD, BAD), range(8)))
    assert found == [[1.0, 0.0]] * 8
    assert [c.workers for c in opened] == [1], "a machine's ranks share its cores"


def test_each_process_has_its_own_and_leaves_nothing() -> None:
    """A fork neither uses nor closes its parent's workers, and nobody's outlive their process."""
    script = """
        import os, sys, pathlib
        from evaluator.rewards import make_reward
        from sandbox.runner import SandboxConfig
        TEST = "def test_one():\\n    assert double(1) == 2\\n"
        GOOD = "def double(x):\\n    return 2 * x\\n"
        reward = make_reward(SandboxConfig(backend="process", workers=1, timeout_s=20))
        def children():
            found = []
            for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
                try:
                    if stat.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                        found.append(int(stat.parent.name))
                except OSError:
                    pass
            return found
        def graded():
            return reward(["p"], [GOOD], test=[TEST]) == [1.0]
        assert not children() and graded() and children()
        workers = children()
        child = os.fork()
        if child == 0:
            assert not children() and graded() and children()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert children() == workers and graded()
        print(*workers)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    workers = ran.stdout.split()
    assert workers
    assert not [worker for worker in workers if Path("/proc", worker).exists()]


def test_a_grpo_step_logs_what_the_grader_says(process_sandbox: Sandbox, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    from srs.prompts import user_message

    lines = (TINY / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:4]]
    tasks = {row["question_id"]: kodcode.to_task(row) for row in rows}
    keep = ("question_id", "test", "solution", "style", "test_info")
    data = [
        {"prompt": [{"role": "user", "content": user_message(tasks[row["question_id"]])}]}
        | {key: row[key] for key in keep}
        for row in rows
    ]
    seen: list[tuple[str, str, float | None]] = []
    reward = make_reward(CONFIG)

    @functools.wraps(reward)
    def watched(prompts: Any, completions: Any, **more: Any) -> list[float | None]:
        given = reward(prompts=prompts, completions=completions, **more)
        said = [messages[-1]["content"] for messages in completions]
        seen.extend(zip(more["question_id"], said, given, strict=True))
        return given

    model: Any = AutoModelForCausalLM.from_pretrained(TINY / "model")
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=watched,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            num_generations=4,
            per_device_train_batch_size=16,
            max_completion_length=64,
            temperature=0.7,
            learning_rate=1e-5,
            use_cpu=True,
            bf16=False,
            seed=1,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(data),
        processing_class=AutoTokenizer.from_pretrained(TINY / "model"),
    )
    trainer.train()
    candidates = [
        Candidate(
            task=task, round=0, index=i, prompt="", completion=text, code=extract_code(text),
            policy="", seed=0, n_tokens=0, truncated=False,
        )
        for i, (task, text, _) in enumerate(seen)
    ]  # fmt: skip
    expected, dropped = verify(list(tasks.values()), process_sandbox, None, limits=CONFIG.limits)
    assert not dropped
    verdicts = grade_batch(
        tasks.values(), candidates, process_sandbox, expectations=expected, limits=CONFIG.limits
    )
    said = [float(v.passed) for v in verdicts]
    assert len(said) == 16
    assert [given for _, _, given in seen] == said
    assert 0 < sum(said) < 16, "not the case this test is for"
    logged = next(log for log in trainer.state.log_history if "reward" in log)
    assert logged["rewards/pytest_reward/mean"] == pytest.approx(sum(said) / 16)
    assert logged["reward"] == pytest.approx(sum(said) / 16)
