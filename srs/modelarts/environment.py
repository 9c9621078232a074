"""Where a process runs, read from the variables that ModelArts injects.

    MA_JOB_DIR MA_MOUNT_PATH MA_LOG_DIR MA_CURRENT_IP MA_NUM_HOSTS MA_NUM_GPUS (counts NPUs too)
    VC_TASK_INDEX VC_WORKER_NUM VC_WORKER_HOSTS MA_TASK_NAME
    RANK_ID RANK_SIZE RANK_TABLE_FILE DEVICE_ID    preset engines, which start one process per card

Source: the ModelArts user guide ("Viewing Environment Variables of a Training Container").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from srs.types import UserError

SIGNS = ("MA_JOB_DIR", "MA_MOUNT_PATH", "MA_NUM_HOSTS", "MA_TASK_NAME")
OF_PRESET_ENGINES = (
    "RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "ASCEND_DEVICE_ID", "DEVICE_NUM",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of a training job. ``hosts`` in order of their index, without ports."""

    index: int
    hosts: tuple[str, ...]
    address: str
    """This node's own IP address, or a name for it."""
    cards: int
    card: int = 0
    """Which of the processes that a preset engine starts; a custom image starts one."""
    log_dir: Path | None = None

    @property
    def is_first(self) -> bool:
        return self.index == 0


def read(environment: Mapping[str, str]) -> Node | None:
    """None when this isn't a ModelArts training job. Raises UserError for variables that disagree."""
    if not any(name in environment for name in SIGNS):
        return None
    count = _number(environment, "MA_NUM_HOSTS", _number(environment, "VC_WORKER_NUM", 1))
    names = [h.strip() for h in environment.get("VC_WORKER_HOSTS", "").split(",") if h.strip()]
    address = environment.get("MA_CURRENT_IP") or (names[0] if names else "127.0.0.1")
    hosts = tuple(name.partition(":")[0] for name in names) or (address,)
    if len(hosts) != count:
        raise UserError(
            f"VC_WORKER_HOSTS names {len(hosts)} hosts and MA_NUM_HOSTS is {count}: "
            "the job's environment is not usable"
        )
    index = _number(environment, "VC_TASK_INDEX", 0)
    if not 0 <= index < count:
        raise UserError(f"VC_TASK_INDEX = {index} with {count} hosts: not usable")
    cards = _number(environment, "MA_NUM_GPUS", 0)
    rank = _number(environment, "RANK_ID", 0)
    logs = environment.get("MA_LOG_DIR")
    return Node(
        index=index,
        hosts=hosts,
        address=address,
        cards=cards,
        card=rank % cards if cards else rank,
        log_dir=Path(logs) if logs else None,
    )


def for_children(environment: Mapping[str, str], work: Path) -> dict[str, str]:
    """The environment that programs started on this node get.

    Without what preset engines set for their own launcher, whose ranks and devices are not ours.
    """
    env = {name: value for name, value in environment.items() if name not in OF_PRESET_ENGINES}
    env.setdefault("SRS_CACHE_DIR", str(work / "cache"))
    return env


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise UserError(f"{name} = {text!r}: not a number")
    return int(text)
