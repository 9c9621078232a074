"""Several training processes: real ranks under torchrun, on the CPU over gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rank_handlers import Recording
from test_child import _gone, _wait
from test_finetune import EXAMPLES, PAIRS, _config

from srs import finetune
from srs.child import Child, ChildError
from srs.config import to_dict
from srs.device import Device
from srs.finetune import ChildTuner, open_tuner
from srs.placement import Placement
from srs.tuning.launch import RankFailure, first_cause, read_errors, write_error
from srs.types import UserError, to_json

HERE = Path(__file__).parent
CPU = Device(kind="cpu", threads=2)
PATH = f"{HERE}{os.pathsep}{HERE.parents[1]}"


def _placement(processes: int) -> Placement:
    return Placement(generation=(CPU,), training=CPU, train_processes=processes, takes_turns=False)


@pytest.fixture
def open_ranks(tmp_path: Path) -> Iterator[Any]:
    children: list[Child] = []

    def start(**arguments: Any) -> Child:
        folder = tmp_path / f"ranks-{len(children)}"
        folder.mkdir()
        child = Child(
            "training",
            "srs.tuning.launch:Ranks",
            {
                "processes": 2,
                "target": "rank_handlers:Plain",
                "arguments": arguments,
                "folder": str(folder),
            },
            environment={**CPU.environment(os.environ), "PYTHONPATH": PATH},
            log_path=tmp_path / "training.log",
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()


def _pids(child: Child, folder: Path) -> list[int]:
    assert child.call("where", folder=str(folder)) == 0
    return [int((folder / str(rank)).read_text()) for rank in range(2)]


def test_a_failing_rank_ends_the_others_and_is_named(open_ranks: Any, tmp_path: Path) -> None:
    child = open_ranks()
    assert child.ready()["ranks"] == 2
    with pytest.raises(UserError, match=r"^adapter: no adapter there$"):
        list(child.stream("refuse"))
    pids = _pids(child, tmp_path)
    assert child.ready()["pid"] == pids[0], "rank 0 speaks for all"
    items = child.stream("fail", rank=1, kind="raise")
    assert next(items) == 0
    began = time.monotonic()
    with pytest.raises(ChildError) as caught:
        next(items)
    assert time.monotonic() - began < 10
    assert "rank 1 of 2: ValueError: broken" in str(caught.value).split("\n")[0]
    assert "in fail" in str(caught.value), "its traceback"
    assert str(tmp_path / "training.log") in str(caught.value)
    assert all(_wait(lambda pid=pid: _gone(pid)) for pid in pids)
    with pytest.raises(ChildError, match="rank 1 of 2"):
        child.call("where", folder=str(tmp_path))


def test_no_rank_is_left_once_it_is_closed(open_ranks: Any, tmp_path: Path) -> None:
    """Each runs in a session of its own; what it held must be free for the engines at once."""
    child = open_ranks(mib=200)
    pids = _pids(child, tmp_path)
    child.close()
    assert [pid for pid in pids if not _gone(pid)] == []


def test_a_killed_parent_takes_every_rank_along(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from srs.child import Child\n"
        "folder = Path(sys.argv[1])\n"
        "arguments = {'processes': 2, 'target': 'rank_handlers:Plain', 'arguments': {},\n"
        "             'folder': str(folder)}\n"
        "child = Child('training', 'srs.tuning.launch:Ranks', arguments,\n"
        "              environment=os.environ, log_path=folder / 'log')\n"
        "child.call('where', folder=str(folder))\n"
        "next(child.stream('fail', rank=5, kind=''))\n"
        "print('busy', flush=True)\n"
        "time.sleep(300)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**CPU.environment(os.environ), "PYTHONPATH": PATH},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "busy\n"
    pids = [int((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert not any(_gone(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert all(_wait(lambda pid=pid: _gone(pid)) for pid in pids)


@pytest.fixture(scope="module")
def two(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildTuner]:
    patch = pytest.MonkeyPatch()
    patch.setattr(finetune, "WORKER", "rank_handlers:Recording")
    patch.setenv("PYTHONPATH", PATH)
    log = tmp_path_factory.mktemp("two") / "finetune.log"
    with open_tuner(_config(random_model), log, _placement(2)) as tuner:
        patch.undo()
        assert isinstance(tuner, ChildTuner)
        yield tuner


@pytest.fixture(scope="module")
def one(random_model: Path) -> Iterator[Recording]:
    patch = pytest.MonkeyPatch()
    from transformers import Trainer

    patch.setattr(Trainer, "log", Trainer.log)  # undoes what Recording puts there
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that spin cost most where other tests use the cores
    device = {"kind": "cpu", "indices": [], "threads": 1}
    yield Recording(config=to_dict(_config(random_model)), device=device)
    torch.set_num_threads(threads)
    patch.undo()


SFT = {"examples": [to_json(example) for example in EXAMPLES], "seed": 1}
DPO = {"pairs": [to_json(pair) for pair in PAIRS], "seed": 1}
COLLAPSING = [
    "dpo.learning_rate=0.03",
    "dpo.sft_weight=0.0",
    "dpo.beta=1.0",
    "dpo.epochs=4",
    "dpo.collapse_nats=1.0",
]
SMALL = ["finetune.micro_batch_size=1", "finetune.epochs=2"]


@pytest.fixture(scope="module")
def tuned(one: Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter under which the chosen answers are likely enough to fall."""
    out = tmp_path_factory.mktemp("tuned") / "adapter"
    list(one.train("sft", ["finetune.epochs=20"], start=None, out=str(out), **SFT))
    return out


@pytest.mark.parametrize(
    ("how", "overrides"),
    [
        ("sft", SMALL),
        ("sft", ["finetune.tokens_per_round=150", "finetune.steps_per_round=5"]),
        ("sft", ["finetune.packing=true"]),
        ("dpo", ["dpo.batch_size=4", "dpo.micro_batch_size=1"]),
        ("dpo", COLLAPSING),
        ("sft", [*SMALL, "finetune.strategy=fsdp"]),
        ("dpo", ["finetune.strategy=fsdp", "finetune.gradient_checkpointing=true"]),
        ("sft", ["finetune.strategy=fsdp", "finetune.method=full"]),
        ("sft", ["finetune.method=prefix", "finetune.learning_rate=0.03"]),
    ],
    ids=["sft", "budgets", "packed", "dpo", "collapse", "fsdp", "fsdp dpo", "fsdp full", "prefix"],
)  # fmt: skip
def test_two_ranks_learn_what_one_process_learns(
    two: ChildTuner, one: Recording, tuned: Path, tmp_path: Path, how: str, overrides: list[str]
) -> None:
    from safetensors.torch import load_file

    start = str(tuned) if overrides == COLLAPSING else None
    arguments = {**(SFT if how == "sft" else DPO), "start": start}
    there = two._child.call(
        "train", how=how, overrides=overrides, out=str(tmp_path / "two"), **arguments
    )
    (here,) = one.train(how, overrides, out=str(tmp_path / "one"), **arguments)
    assert len(there["losses"]) == len(here["losses"]) >= 2
    assert there["losses"] == pytest.approx(here["losses"], abs=1e-4)
    assert there["kinds"] == (
        ["DTensor"] if "finetune.strategy=fsdp" in overrides else ["Parameter"]
    )
    results = there["result"], here["result"]
    for key, value in results[0].items():
        assert value == pytest.approx(results[1][key], abs=1e-3), key
    if overrides == COLLAPSING:
        assert there["result"]["collapsed"], "not the case this one is for"
    names = ["adapter_model.safetensors", "model.safetensors"]
    (name,) = (name for name in names if (tmp_path / "one" / name).exists())
    files = [load_file(tmp_path / where / name) for where in ("one", "two")]
    assert files[0].keys() == files[1].keys()
    for key, values in files[0].items():
        assert values.float().sub(files[1][key].float()).abs().max() < 1e-3, key
    listing = [sorted(p.name for p in (tmp_path / where).iterdir()) for where in ("one", "two")]
    assert listing[0] == listing[1]


def test_a_killed_rank_stops_the_round_and_leaves_nothing(two: ChildTuner, tmp_path: Path) -> None:
    """Last of this file's: the ranks are gone after it."""
    log = two._child.log_path
    assert two.describe()["processes"] == 2
    pids = two._child.call("pids")
    assert len(set(pids)) == 2
    with pytest.raises(UserError, match="no adapter to continue"):
        two.sft(EXAMPLES, start=tmp_path / "gone", out=tmp_path / "a", seed=0)
    logged = log.stat().st_size
    overrides = ["finetune.epochs=1000", "finetune.learning_rate=1e-6"]
    items = two._child.stream(
        "train", how="sft", overrides=overrides, start=None, out=str(tmp_path / "a"), **SFT
    )
    assert _wait(lambda: b"'loss'" in log.read_bytes()[logged:], 60)
    began = time.monotonic()
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(ChildError) as caught:
        next(items)
    assert time.monotonic() - began < 10
    first = str(caught.value).split("\n")[0]
    assert first.endswith("rank 1 of 2 was ended by SIGKILL, perhaps for lack of memory")
    assert str(log) in str(caught.value)
    assert all(_wait(lambda pid=pid: _gone(pid)) for pid in pids)
    assert not list(tmp_path.iterdir()), "neither an adapter nor a part of one"


def test_the_first_cause_is_told_from_its_consequences(tmp_path: Path) -> None:
    def error(rank: int, time_s: float) -> RankFailure:
        return RankFailure(rank=rank, time_s=time_s, error=f"E{rank}", traceback="T")

    for failure in (error(0, 5.0), error(1, 4.0)):
        write_error(tmp_path, failure)
    errors = read_errors(tmp_path)
    assert errors == [error(0, 5.0), error(1, 4.0)]
    assert first_cause({0: 1, 1: 1}, errors, 2) == "rank 1 of 2: E1\nT"
    assert first_cause({0: 1, 1: 1, 2: -9}, errors, 3).startswith(
        "rank 2 of 3 was ended by SIGKILL"
    )
    assert first_cause({0: 1, 1: -15}, errors[:1], 2) == "rank 0 of 2: E0\nT"
    assert first_cause({1: -15}, [], 2) == "rank 1 of 2 was ended by SIGTERM"
    assert first_cause({0: -15, 1: 7}, [], 2) == "rank 1 of 2 exited (7)"
    assert first_cause({}, [], 2) == "the training processes ended"
