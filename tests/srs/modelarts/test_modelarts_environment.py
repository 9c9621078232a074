"""The variables of a job, written down as ModelArts' guide lists them, and what is made of them."""

import json
from pathlib import Path

import pytest

from srs.modelarts.environment import for_children, read
from srs.types import UserError

RECORDED = Path(__file__).parent / "environments"


def recorded(name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_one_node() -> None:
    node = read(recorded("one_node"))
    assert node is not None
    assert (node.index, len(node.hosts), node.cards, node.card) == (0, 1, 4, 0)
    assert node.is_first
    assert node.address == "192.168.23.38"
    assert node.log_dir == Path("/home/ma-user/modelarts/log")


def test_the_third_of_four_nodes() -> None:
    variables = recorded("four_nodes")
    node = read(variables)
    assert node is not None
    assert (node.index, node.cards, node.is_first) == (2, 8, False)
    assert node.hosts == tuple(f"job-worker-{i}.job" for i in range(4))
    env = for_children(variables, Path("/cache/srs"))
    assert "RANK_TABLE_FILE" not in env
    assert env["SRS_CACHE_DIR"] == "/cache/srs/cache"


@pytest.mark.parametrize(("index", "rank", "card"), [(0, 0, 0), (0, 3, 3), (1, 8, 0), (1, 9, 1)])
def test_a_preset_engine_starts_one_process_per_card(index: int, rank: int, card: int) -> None:
    variables = recorded("preset") | {"RANK_ID": str(rank), "VC_TASK_INDEX": str(index)}
    variables |= {"MA_NUM_HOSTS": "2", "VC_WORKER_HOSTS": "a:2222,b:2222"}
    node = read(variables)
    assert node is not None
    assert node.card == card
    assert node.hosts == ("a", "b")
    assert not {"RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE", "DEVICE_ID"} & set(
        for_children(variables, Path("/w"))
    )


def test_elsewhere() -> None:
    assert read(recorded("elsewhere")) is None
    env = for_children(recorded("elsewhere") | {"SRS_CACHE_DIR": "/c"}, Path("/w"))
    assert env["SRS_CACHE_DIR"] == "/c"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MA_NUM_HOSTS": "3"}, "names 4 hosts and MA_NUM_HOSTS is 3"),
        ({"VC_TASK_INDEX": "4"}, "VC_TASK_INDEX = 4 with 4 hosts"),
        ({"VC_TASK_INDEX": "one"}, "VC_TASK_INDEX = 'one': not a number"),
    ],
)
def test_variables_that_disagree_are_one_line(variables: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(recorded("four_nodes") | variables)
