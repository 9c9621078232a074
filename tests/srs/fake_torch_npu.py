"""Run as a program: makes this process an Ascend one, as far as torch and its libraries can tell.

PrivateUse1, torch's slot for devices it doesn't know, is named ``npu`` as torch-npu names it; a module of
that name answers what libraries ask; ``hccl`` is gloo. Tensors can't be made on it. Prints as JSON what
each library takes the machine for.
"""

import importlib.machinery
import json
import os
import sys
import types
from typing import Any

import torch
import torch.distributed


def install(devices: int = 2) -> None:
    torch.utils.rename_privateuse1_backend("npu")
    npu: Any = types.ModuleType("torch.npu")
    npu.is_available = lambda: True
    npu.is_initialized = lambda: True
    npu.device_count = lambda: devices
    npu.current_device = lambda: 0
    npu.set_device = lambda _: None
    npu.is_bf16_supported = lambda: True
    npu._is_in_bad_fork = lambda: False
    npu.manual_seed = npu.manual_seed_all = lambda _: None
    npu.empty_cache = lambda: None
    npu.synchronize = lambda *_: None
    torch._register_device_module("npu", npu)
    torch_npu: Any = types.ModuleType("torch_npu")
    torch_npu.npu = npu
    torch_npu.npu_fusion_attention = None  # transformers takes it from there when it loads models
    torch_npu.__version__ = torch.__version__.partition("+")[0]
    torch_npu.__spec__ = importlib.machinery.ModuleSpec("torch_npu", None)
    sys.modules["torch_npu"] = torch_npu

    def hccl(store: Any, rank: int, size: int, timeout: Any) -> Any:
        return torch.distributed.ProcessGroupGloo(store, rank, size, timeout)

    torch.distributed.Backend.register_backend("hccl", hccl, devices=["npu", "cpu"])


def main() -> None:
    install()
    from srs.device import Device

    ours = Device(kind="npu", indices=("0", "1"))
    ours.check()
    found: dict[str, Any] = {"torch": str(torch.accelerator.current_accelerator())}

    import transformers.utils
    from accelerate import PartialState
    from accelerate.utils import is_npu_available
    from peft.utils import infer_device
    from transformers import TrainingArguments

    found["transformers"] = transformers.utils.is_torch_npu_available()
    found["accelerate"] = is_npu_available()
    found["peft"] = infer_device()
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # fmt: skip
    state = PartialState()
    found["type"] = state.distributed_type.value
    found["backend"] = [state.backend, torch.distributed.get_backend(), ours.distributed_backend]
    found["device"] = str(state.device)
    total = torch.ones(3)
    torch.distributed.all_reduce(total)
    found["sum"] = total.tolist()
    arguments = TrainingArguments(output_dir="unused", optim=ours.optimizer, bf16=True)
    found["training arguments"] = str(arguments.device)
    print(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
