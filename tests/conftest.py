"""For all tests: their order, the cores of each process, and signals that do what they do by default."""

import os
import signal
from collections.abc import Iterator

import pytest

from srs.device import core_shares

LONG = (
    "test_resume.py",
    "test_compare.py",
    "test_self_check.py",
    "test_tiny_lab.py",
    "test_ahead.py",
    "test_modelarts_entry.py",
    "test_bench_gpu.py",
    "test_ianvs_export.py",
)
"""Files of 40 s and more. A process runs a file whole: one begun last would keep all others waiting."""
RAY = (
    "test_ray_run.py",
    "test_ray_generation.py",
    "test_ray_grading.py",
    "test_ray_training.py",
)
"""At the end, because the cluster that they begin stays to the end, and its threads in the process."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell gives to background jobs
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Tests of the loop run as many threads as they have cores; those of two processes would collide."""
    process = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if process:
        shares = core_shares(int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
        if cores := shares[int(process) % len(shares)]:
            os.sched_setaffinity(0, cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path.name))


def _place(file: str) -> int:
    if file in RAY:
        return 1 + RAY.index(file)
    return -1 if file in LONG else 0


@pytest.fixture(autouse=True)
def _handlers_of_signals() -> Iterator[None]:
    """Entry points called here set some for their process, and forks of later tests would inherit them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
