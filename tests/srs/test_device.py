from __future__ import annotations

from pathlib import Path

import pytest

from srs.device import Device, detect
from srs.types import UserError

CUDA = Device(kind="cuda", indices=("0", "1"), threads=16)
NPU = Device(kind="npu", indices=("0", "1", "2", "3"), threads=24)
CPU = Device(kind="cpu", threads=2)


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
    ("device", "added"),
    [
        (
            CUDA,
            {
                "CUDA_VISIBLE_DEVICES": "0,1",
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
                "OMP_NUM_THREADS": "8",
                "TOKENIZERS_PARALLELISM": "false",
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


def test_two_devices_are_shared_out_and_one_is_shared() -> None:
    generation, training = NPU.split()
    assert (generation.indices, training.indices) == (("0",), ("3",))
    assert CPU.split() == (CPU, CPU)
    one = Device(kind="cuda", indices=("5",))
    assert one.split() == (one, one)


def test_a_device_that_torch_cannot_use_is_the_users_to_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    CPU.check()
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES="):
        CUDA.check()
