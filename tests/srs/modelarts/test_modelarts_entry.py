"""The entry script, started for real under a fake home: a whole run, killed in the middle, started again."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from run_results import results

ROOT = Path(__file__).parents[3]
RUN = ROOT / "scripts" / "modelarts" / "run.sh"
BOOT = ROOT / "scripts" / "modelarts" / "boot.py"
HERE = Path(__file__).parent
SETTINGS = (
    "generate.engine=transformers",
    "generate.n=4",
    "generate.max_tokens=48",
    "scheduler.tasks_per_round=5",
    "scheduler.new_share=0.6",
    "tasks.limit=16",
    "finetune.epochs=1",
    "eval.limit=3",
    "eval.n=0",
    "dpo.enabled=false",
)


class Machine:
    """One node: a home, logs, and OBS as a folder."""

    def __init__(self, base: Path, environment: str) -> None:
        self.base = base
        recorded = json.loads((HERE / "environments" / f"{environment}.json").read_text())
        self.variables = {
            **recorded,
            "HOME": str(base / "home"),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{HERE / 'fakes'}:{os.environ.get('PYTHONPATH', '')}",
            "SRS_PYTHON": sys.executable,
            "SRS_CACHE_DIR": str(base / "cache"),
            "SRS_UPLOAD_EVERY_S": "0.3",
            "FAKE_OBS": str(base / "obs"),
        }
        if "MA_LOG_DIR" in recorded:
            self.variables["MA_LOG_DIR"] = str(base / "log")
        (base / "home").mkdir(parents=True, exist_ok=True)

    def start(self, *words: str, program: tuple[str, ...] = (str(RUN),)) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*program, *words], env=self.variables, cwd=self.base, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def finish(self, *words: str, program: tuple[str, ...] = (str(RUN),)) -> tuple[int, str]:
        process = self.start(*words, program=program)
        return ended(process)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and output. A test that fails leaves nothing running."""
    try:
        output, _ = process.communicate(timeout=600)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("node"), "one_node")
    machine.variables["SRS_SET"] = json.dumps(SETTINGS)
    return machine


def words(machine: Machine, name: str) -> list[str]:
    """As ModelArts gives them: some unknown, one twice."""
    return [
        "--train_url=/nowhere", "--rounds=7", f"--run_url=obs://bucket/{name}", "--data_url", "/in",
        f"--work_dir={machine.base / name}", "--rounds=2", "--config=configs/tiny.toml",
    ]  # fmt: skip


def test_killed_in_the_middle_and_started_on_another_node_is_the_same_run(machine: Machine) -> None:
    code, output = machine.finish(*words(machine, "whole"))
    assert code == 0, output
    assert "ignored: --train_url=/nowhere --data_url" in output
    log = (machine.base / "log" / "srs-0.log").read_text()
    assert "report: " in log
    assert "sandbox: process" in log

    storage = machine.base / "obs" / "bucket" / "killed"
    process = machine.start(*words(machine, "killed"))
    deadline = time.monotonic() + 600
    while "rounds/0002/plan.json" not in named(storage) and time.monotonic() < deadline:
        assert process.poll() is None, ended(process)
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left = check(storage)
    assert not left["finished"]
    assert "rounds/0002/train.json" not in left["files"]
    shutil.rmtree(machine.base / "killed")  # the node's disk

    code, output = machine.finish(*words(machine, "killed"))
    assert code == 0, output
    assert f"restoring {len(left['files'])} files from obs://bucket/killed" in output
    whole, killed = (machine.base / name / "run" for name in ("whole", "killed"))
    assert results(killed) == results(whole)
    assert "adapters/0002/adapter_model.safetensors" in results(whole)
    assert len(results(whole)["metrics.jsonl"]) == 3
    for name in ("whole", "killed"):
        assert check(machine.base / "obs" / "bucket" / name)["finished"]
        assert results(machine.base / "obs" / "bucket" / name) == results(whole)


def named(storage: Path) -> dict[str, Any]:
    """The files that the manifest names now."""
    manifest = storage / "manifest.json"
    found: dict[str, Any] = json.loads(manifest.read_text())["files"] if manifest.exists() else {}
    return found


def check(storage: Path) -> dict[str, Any]:
    """The manifest, once every file that it names was found with its content."""
    manifest: dict[str, Any] = json.loads((storage / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        content = (storage / entry["at"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], name
    return manifest


@pytest.mark.parametrize("program", [(str(RUN),), (sys.executable, str(BOOT))], ids=["run", "boot"])
def test_of_a_preset_engines_processes_only_the_first_works(
    tmp_path: Path, program: tuple[str, ...]
) -> None:
    machine = Machine(tmp_path, "preset")
    code, output = machine.finish("--config=none.toml", program=program)
    assert (code, "card 3 of this node" in output) == (0, True), output
    assert (tmp_path / "log" / "srs-0-3.log").exists()
    machine.variables["RANK_ID"] = "0"
    code, output = machine.finish(
        "--config=none.toml", f"--work_dir={tmp_path / 'w'}", program=program
    )
    assert code == 2
    assert "none.toml: cannot read the config" in output


def test_two_nodes_end_together_with_the_first_ones_code(tmp_path: Path) -> None:
    """Both entry scripts, with Ray's command faked; srs.train refuses a config, which both report."""
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        ports = {"SRS_RAY_PORT": a.getsockname()[1], "SRS_STATUS_PORT": b.getsockname()[1]}
    started = []
    for index in (1, 0):
        node = Machine(tmp_path / str(index), "four_nodes")
        node.variables |= {name: str(port) for name, port in ports.items()}
        node.variables |= {
            "MA_NUM_HOSTS": "2", "VC_WORKER_NUM": "2", "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1",
            "MA_CURRENT_IP": "127.0.0.1", "VC_TASK_INDEX": str(index),
            "FAKE_RAY": str(tmp_path / "ray-calls"),
            "PATH": f"{HERE / 'fakes' / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": f"{HERE / 'fakes' / 'of_ray'}:{node.variables['PYTHONPATH']}",
        }  # fmt: skip
        if index:
            node.variables["MA_LOG_DIR"] = "/dev/null/log"
        started.append(node.start("--config=none.toml", f"--work_dir={node.base / 'w'}"))
    codes, outputs = zip(*(ended(process) for process in started), strict=True)
    assert codes == (2, 2), outputs
    assert "node 1 of 2: lending devices" in outputs[0]
    assert "MA_LOG_DIR = /dev/null/log: no log there" in outputs[0]
    assert "none.toml: cannot read the config" in outputs[1]
    calls = (tmp_path / "ray-calls").read_text().splitlines()
    head, joined = (call for call in calls if call.startswith("start "))
    assert "--head" in head
    assert joined == f"start --block --address=127.0.0.1:{ports['SRS_RAY_PORT']}"


def test_not_on_modelarts_it_just_runs(tmp_path: Path) -> None:
    """As far as srs.train's own refusal of a config: its exit code, and nothing is uploaded."""
    machine = Machine(tmp_path, "elsewhere")
    storage = tmp_path / "sfs"
    code, output = machine.finish(
        "--finetune.lora_r=0", f"--run_url={storage}", f"--work_dir={tmp_path / 'w'}"
    )
    assert code == 2
    assert "finetune.lora_r must be 1 or more" in output
    assert not storage.exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--run_url=bucket/x", "run_url = 'bucket/x': write obs://bucket/folder"),
        ("--work_dir=/proc/x", "work_dir = /proc/x: cannot be made"),
    ],
)
def test_unusable_arguments_are_one_line(tmp_path: Path, word: str, message: str) -> None:
    code, output = Machine(tmp_path, "elsewhere").finish(f"--work_dir={tmp_path}", word)
    assert code == 2
    assert message in output
    assert "Traceback" not in output


def test_the_script_sources_cann_and_passes_everything_on(tmp_path: Path) -> None:
    """CANN's file reads unset variables and ends with a failed test; neither may end the script."""
    cann = tmp_path / "cann"
    cann.mkdir()
    (cann / "set_env.sh").write_text('export ASCEND_HOME_PATH=/cann"$UNSET"\n[ -z x ]\n')
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$ASCEND_HOME_PATH" "$(pwd)" "$@"\n')
    python.chmod(0o755)
    machine = Machine(tmp_path, "one_node")
    machine.variables |= {"SRS_PYTHON": str(python), "ASCEND_TOOLKIT_HOME": str(cann)}
    code, output = machine.finish("--a=b c", "--d")
    assert (code, output.split()) == (
        0, ["/cann", str(ROOT), "-m", "srs.modelarts.entry", "--a=b", "c", "--d"]
    )  # fmt: skip
