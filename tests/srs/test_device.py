from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from srs.device import Device, core_shares, detect
from srs.types import UserError

CUDA = Device(kind="cuda", indices=("0", "1"), threads=16)
NPU = Device(kind="npu", indices=("0", "1", "2", "3"), threads=24)
CPU = Device(kind="cpu", threads=2)
REPOSITORY = Path(__file__).parents[2]


def _dev(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("files", "environment", "torch", "torch_npu", "expected"),
    [
        ((), {}, "2.13.0", False, ("cpu", ())),
        (("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"), {}, "2.13.0", False, ("cuda", ("0", "1"))),
        (("nvidia0",), {}, "2.13.0+cpu", False, ("cpu", ())),
        (("nvidia0",), {"CUDA_VISIBLE_DEVICES": ""}, "2.13.0", False, ("cpu", ())),
        (("nvidia0",), {"CUDA_VISIBLE_DEVICES": "-1"}, "2.13.0", False, ("cpu", ())),
        (("nvidia0", "nvidia1"), {"CUDA_VISIBLE_DEVICES": "1"}, "2.13.0", False, ("cuda", ("1",))),
        (("nvidia0",), {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, "2.13.0", False, ("cuda", ("MIG-a", "MIG-b"))),
        (("dxg",), {}, "2.13.0", False, ("cuda", ("0",))),
        # A container with some of the host's devices: the files keep the host's numbers, the runtimes count anew.
        (("nvidia5", "nvidiactl"), {}, "2.13.0", False, ("cuda", ("0",))),
        (("nvidia0", "nvidia2", "nvidia7"), {}, "2.13.0", False, ("cuda", ("0", "1", "2"))),
        (("davinci3", "davinci5", "davinci_manager"), {}, "2.10.0", True, ("npu", ("0", "1"))),
        (("davinci0", "davinci1", "davinci_manager"), {}, "2.10.0", True, ("npu", ("0", "1"))),
        (("davinci0",), {}, "2.10.0", False, ("cpu", ())),
        (("davinci0", "davinci1"), {"ASCEND_RT_VISIBLE_DEVICES": "1"}, "2.10.0", True, ("npu", ("1",))),
    ],
)  # fmt: skip
def test_detection_from_device_files(
    tmp_path: Path,
    files: tuple[str, ...],
    environment: dict[str, str],
    torch: str,
    torch_npu: bool,
    expected: tuple[str, tuple[str, ...]],
) -> None:
    device = detect(
        environment, dev=_dev(tmp_path, *files), torch_version=torch, has_torch_npu=torch_npu
    )
    assert (device.kind, device.indices) == expected
    assert device.threads >= 1


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CUDA, ("cuda:0", "CUDA_VISIBLE_DEVICES", "sdpa", "adamw_torch_fused", "bfloat16", {})),
        (NPU, ("npu:0", "ASCEND_RT_VISIBLE_DEVICES", "sdpa", "adamw_torch", "bfloat16", {"enforce_eager": True})),
        (CPU, ("cpu", None, "sdpa", "adamw_torch_fused", "float32", {"enforce_eager": True, "enable_chunked_prefill": False})),
    ],
)  # fmt: skip
def test_description(device: Device, expected: tuple[object, ...]) -> None:
    assert (
        device.torch_device,
        device.visible_variable,
        device.attention,
        device.optimizer,
        device.dtype("auto"),
        device.vllm_arguments,
    ) == expected
    assert device.dtype("float16") == "float16"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CUDA, ("nccl", True, True)),
        (NPU, ("hccl", False, False)),
        (CPU, ("gloo", False, False)),
    ],
)
def test_what_it_can_do(device: Device, expected: tuple[object, ...]) -> None:
    assert (
        device.distributed_backend,
        device.can_quantize,
        device.sleeps,
    ) == expected


@pytest.mark.parametrize(
    ("device", "added"),
    [
        (
            CUDA,
            {
                "CUDA_VISIBLE_DEVICES": "0,1",
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
                "OMP_NUM_THREADS": "8",
                "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
                "TOKENIZERS_PARALLELISM": "false",
                "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            },
        ),
        (
            NPU,
            {
                "ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3",
                "HCCL_DETERMINISTIC": "true",
                "LCCL_DETERMINISTIC": "1",
                "OMP_NUM_THREADS": "1",
                "TASK_QUEUE_ENABLE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
            },
        ),
        (
            CPU,
            {
                "CUDA_VISIBLE_DEVICES": "",
                "OMP_NUM_THREADS": "2",
                "OMP_WAIT_POLICY": "PASSIVE",
                "TOKENIZERS_PARALLELISM": "false",
                "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            },
        ),
    ],
)
def test_child_environment(device: Device, added: dict[str, str]) -> None:
    assert device.environment({"HOME": "/root"}) == {"HOME": "/root", **added}


def test_ascend_children_never_see_both_allocator_settings() -> None:
    both = {"PYTORCH_NPU_ALLOC_CONF": "a", "PYTORCH_ALLOC_CONF": "b"}
    assert "PYTORCH_ALLOC_CONF" not in NPU.environment(both)
    assert NPU.environment({"PYTORCH_ALLOC_CONF": "b"})["PYTORCH_ALLOC_CONF"] == "b"


def test_an_engine_that_sleeps_has_no_expandable_segments() -> None:
    """vLLM's memory pool and torch's expandable segments exclude each other."""
    base = {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "PYTORCH_NPU_ALLOC_CONF": "max_split_size_mb:64,expandable_segments:True",
    }
    for device in (CUDA, NPU, CPU):
        assert device.environment(base).items() >= base.items()
        asleep = device.environment(base, sleep=True)
        assert "PYTORCH_CUDA_ALLOC_CONF" not in asleep
        assert asleep["PYTORCH_NPU_ALLOC_CONF"] == "max_split_size_mb:64"
    # On Ascend weights in the NZ layout don't survive a sleep.
    assert NPU.environment({}, sleep=True).items() - NPU.environment({}).items() == {
        ("VLLM_ASCEND_ENABLE_NZ", "0")
    }


def test_ascend_children_do_not_see_the_rank_table_of_modelarts() -> None:
    assert "RANK_TABLE_FILE" not in NPU.environment({"RANK_TABLE_FILE": "/user/config/jobstart"})


def test_a_device_that_torch_cannot_use_is_the_users_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    CPU.check()
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES="):
        CUDA.check()


def test_an_ascend_machine_to_torch_and_its_libraries() -> None:
    """With a stand-in for torch-npu; `Device.check` passes in there."""
    found = _program("-m", "fake_torch_npu")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == {
        "torch": "npu",
        "transformers": True,
        "accelerate": True,
        "peft": "npu",
        "type": "MULTI_NPU",
        "backend": ["hccl", "hccl", "hccl"],
        "device": "npu:0",
        "sum": [1.0, 1.0, 1.0],
        "training arguments": "npu:0",
    }


def test_a_torch_npu_without_cann_says_what_to_do(tmp_path: Path) -> None:
    """torch loads every package with such an entry point when it is imported, and fails with it."""
    package, metadata = tmp_path / "torch_npu", tmp_path / "torch_npu-2.10.0.dist-info"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ImportError('libhccl.so: cannot open shared object file: No such file or directory')\n"
    )
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-npu\nVersion: 2.10.0\n")
    (metadata / "entry_points.txt").write_text(
        "[torch.backends]\ntorch_npu = torch_npu:_autoload\n"
    )
    check = (
        "import json, sys\nfrom srs.device import Device\nfrom srs.types import UserError\n"
        "kind, indices = json.loads(sys.argv[1])\n"
        "try:\n    Device(kind=kind, indices=tuple(indices)).check()\n"
        "except UserError as e:\n    print(e)\n"
        "print('torch' in sys.modules)\n"
    )
    found = _program("-c", check, json.dumps(["npu", ["0"]]), PYTHONPATH=str(tmp_path))
    message, imported = found.stdout.splitlines()
    assert "libhccl.so" in message
    assert "set_env.sh" in message
    assert "TORCH_DEVICE_BACKEND_AUTOLOAD=0" in message
    assert imported == "False"
    # The children of a CPU run don't load it at all.
    environment = CPU.environment({"PYTHONPATH": str(tmp_path)})
    found = _program("-c", check, json.dumps(["cpu", []]), **environment)
    assert found.stdout.splitlines() == ["True"], found.stderr


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    here = [str(REPOSITORY), str(Path(__file__).parent)]
    path = os.pathsep.join([*here, environment.pop("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_no_other_module_names_an_accelerator() -> None:
    named = re.compile(r"\.cuda\(|torch\.(cuda|npu)\b|\btorch_npu\b")
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for package in ("srs", "evaluator", "scheduler", "memory", "sandbox")
        for path in (REPOSITORY / package).rglob("*.py")
        if path != REPOSITORY / "srs" / "device.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if named.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("loops", "expected"),
    [
        (1, [{0, 1, 4, 5, 9}]),
        (2, [{0, 1}, {4, 5}]),
        (3, [{0}, {1}, {4}]),
        (7, [{0}, {1}, {4}, {5}, {9}, {0}, {1}]),
    ],
)
def test_loops_at_once_have_as_many_cores_each(
    loops: int, expected: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {9, 5, 4, 1, 0}, raising=False)
    assert core_shares(loops) == expected


def test_where_processes_cannot_be_bound_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert core_shares(2) == [set(), set()]
