"""Files → tasks → a split, over real files, and every way in which they can be wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from srs.config import TasksConfig
from srs.tasks import SANDBOX_MODULES, TINY, importable, is_vacuous, load, read_rows
from srs.types import UserError

DATA = Path(__file__).parents[3] / "shared" / "data"


def row(number: int, style: str = "I", **changes: Any) -> dict[str, Any]:
    name = f"f{number}"
    return {
        "question_id": f"Demo_{number}_{style}",
        "question": f"Return {number}.",
        "test": f"from solution import {name}\n\ndef test_it():\n    assert {name}() == {number}\n",
        "solution": f"def {name}():\n    return {number}\n",
        "style": {"I": "instruct", "C": "complete"}[style],
        "subset": "Demo",
        "test_info": None,
        "gpt_difficulty": ["easy", "medium", "hard"][number % 3],
    } | changes


ROWS = [row(n, style) for n in range(40) for style in "IC"]


def write(path: Path, rows: list[Any]) -> str:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        case _:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return write(tmp_path / "demo.jsonl", ROWS)


def error_of(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        read_rows(Path(path))
    return str(caught.value)


# --- reading


def test_the_three_formats_hold_the_same_tasks(tmp_path: Path) -> None:
    tasks = [
        read_rows(Path(write(tmp_path / f"t{s}", ROWS))) for s in (".jsonl", ".json", ".parquet")
    ]
    assert tasks[0] == tasks[1] == tasks[2]
    assert [t.id for t in tasks[0]] == [r["question_id"] for r in ROWS]


def test_blank_lines_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(json.dumps(r).encode() for r in ROWS))
    assert len(read_rows(path)) == len(ROWS)


def test_parquet_with_nested_test_info(tmp_path: Path) -> None:
    info = {
        "function_name": "f0",
        "function_declaration": "def f0(x=1):",
        "parameter_list": "(x=1)",
    }
    path = write(tmp_path / "t.parquet", [row(0, test_info=[info])])
    assert read_rows(Path(path))[0].declaration == "def f0(x=1):"


def test_a_row_may_lack_its_question_for_grading_but_not_for_training(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [row(0), row(1, question=None)])
    assert [t.question for t in read_rows(Path(path))] == ["Return 0.", ""]
    with pytest.raises(UserError, match=r"t\.jsonl:2: question is missing$"):
        load(TasksConfig(source=path))


def test_all_bad_rows_are_named_with_file_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [
        json.dumps(row(0)).encode(),
        b'{"question_id": ',
        json.dumps(row(1, test=None)).encode(),
        b"[]",
        b'{"question": "\xff"}',
        json.dumps({**row(2), "question_id": None}).encode(),
        json.dumps(row(0)).encode(),
        b"[" * 200_000,
    ]
    path.write_bytes(b"\n".join(lines))
    reasons = error_of(path).splitlines()
    assert len(reasons) == 7
    for line, reason in zip(range(2, 9), reasons, strict=True):
        assert reason.startswith(f"{path}:{line}: ")
    for reason, words in zip(
        reasons,
        (
            "not JSON: Expecting value",
            "test is missing",
            "expected an object, got list",
            "not UTF-8 text (byte 14",
            "question_id is missing",
            f"question_id Demo_0_I stands already at {path}:1",
            "not JSON: ",
        ),
        strict=True,
    ):
        assert words in reason


def test_a_flood_of_bad_rows_is_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.json", [{"question_id": f"a{n}"} for n in range(57)])
    reasons = error_of(path).splitlines()
    assert reasons[0] == f"{path}: row 1: test is missing"
    assert (len(reasons), reasons[-1]) == (21, "… and 37 more")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.jsonl", b"", "the file is empty"),
        ("t.jsonl", b"\n \n", "holds no rows"),
        ("t.json", b"[]", "holds no rows"),
        ("t.jsonl", "{}".encode("utf-16"), "not UTF-8 text"),
        ("t.json", b"\xff", "not UTF-8 text"),
        ("t.json", b"{}", "expected a list of rows, got dict"),
        ("t.json", b"{}\n{}", "one object per line is a .jsonl file"),
        ("t.json", b"[1,\n2", ":2: not JSON"),
        ("t.parquet", b"no parquet at all", "not a readable parquet file"),
        ("t.csv", b"a,b\n", "expected a file that ends in .jsonl, .json, .parquet"),
        ("t.jsonl.gz", b"\x1f\x8b", "expected a file that ends in"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = error_of(path)
    assert message.startswith(str(path))
    assert reason in message
    assert "\n" not in message


def test_no_file_a_directory_and_an_unreadable_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.jsonl").endswith("no such file")
    (tmp_path / "dir.jsonl").mkdir()
    assert "is a directory" in error_of(tmp_path / "dir.jsonl")
    if os.geteuid():
        path = Path(write(tmp_path / "t.jsonl", ROWS))
        path.chmod(0)
        assert "cannot read the file: Permission denied" in error_of(path)


# --- sources


@pytest.mark.parametrize(
    "source", ["none.jsonl", "data/none.jsonl", "./owner/name", "/no/where", "nowhere"]
)
def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_id(source: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        load(TasksConfig(source=source))


def test_a_hub_id_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"^Nobody/Nothing: cannot load it from the hub .*downloaded"
    ):
        load(TasksConfig(source="Nobody/Nothing"))


def test_a_hub_data_set_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """The transport alone is replaced: rows come through a real `datasets.Dataset`."""
    import datasets
    import huggingface_hub

    asked: list[tuple[str, str]] = []

    def load_dataset(name: str, *, split: str) -> datasets.Dataset:
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = load(TasksConfig(source="KodCode/KodCode-V1"))
    file = load(TasksConfig(source=source))
    assert (hub.train, hub.held_out) == (file.train, file.held_out)
    assert hub.notice is not None
    assert "CC BY-NC 4.0" in hub.notice
    assert file.notice is None
    load(TasksConfig(source="someone/else:test"))
    assert asked == [("KodCode/KodCode-V1", "train"), ("someone/else", "test")]


def test_rows_of_a_kodcode_subset_carry_the_licence_wherever_they_come_from(tmp_path: Path) -> None:
    rows = [row(n, subset="Leetcode") for n in range(4)]
    assert load(TasksConfig(source=write(tmp_path / "t.jsonl", rows))).notice is not None


@pytest.mark.skipif(not (TINY / "train.jsonl").exists(), reason="the tiny lab is not built")
def test_the_tasks_that_ship_with_the_package() -> None:
    tasks = load(TasksConfig())
    train, held_out = ({t.id for t in side} for side in (tasks.train, tasks.held_out))
    assert len(train) >= 2000
    assert len(held_out) >= 200
    assert not train & held_out
    assert not {t.group for t in tasks.train} & {t.group for t in tasks.held_out}
    assert (tasks.notice, tasks.dropped) == (None, {})
    assert all(t.declaration and t.reference for t in tasks.train + tasks.held_out)
    assert all(importable(t, SANDBOX_MODULES) for t in tasks.train + tasks.held_out)


# --- split and filters


def test_twins_land_on_the_same_side_and_nothing_is_lost(source: str) -> None:
    tasks = load(TasksConfig(source=source))
    assert len(tasks.train) + len(tasks.held_out) == len(ROWS)
    assert not {t.group for t in tasks.train} & {t.group for t in tasks.held_out}
    assert len(tasks.held_out) % 2 == 0


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path, source: str) -> None:
    turned = write(tmp_path / "turned.jsonl", ROWS[::-1])
    a, b = load(TasksConfig(source=source, limit=7)), load(TasksConfig(source=turned, limit=7))
    assert (a.train, a.held_out) == (b.train, b.held_out)


def test_a_filter_moves_no_task_to_the_other_side(source: str) -> None:
    everything = load(TasksConfig(source=source))
    easy = load(TasksConfig(source=source, difficulties=("Easy",), styles=("complete",)))
    assert easy.held_out == [
        t for t in everything.held_out if (t.difficulty, t.style) == ("easy", "complete")
    ]
    assert easy.train == [
        t for t in everything.train if (t.difficulty, t.style) == ("easy", "complete")
    ]


def test_a_reworded_twin_of_a_filtered_row_keeps_its_group(tmp_path: Path) -> None:
    """Demo_9 reaches Demo_1 only over a row that the filter takes away."""
    rows = [
        *ROWS,
        row(
            99,
            question_id="Demo_9_X",
            subset="Else",
            test=ROWS[2]["test"],
            question=ROWS[18]["question"],
        ),
    ]
    rows[-1]["question_id"] = "Aaa_0_I"
    tasks = load(TasksConfig(source=write(tmp_path / "t.jsonl", rows), subsets=("Demo",)))
    groups = {t.id: t.group for t in tasks.train + tasks.held_out}
    assert groups["Demo_9_I"] == groups["Demo_1_C"] == "Aaa_0"


def test_limit_draws_from_training_only(source: str) -> None:
    everything = load(TasksConfig(source=source))
    few = load(TasksConfig(source=source, limit=10))
    assert len(few.train) == 10
    assert {t.id for t in few.train} <= {t.id for t in everything.train}
    assert few.held_out == everything.held_out


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"subsets": ("Leetcode",)}, "tasks.subsets leaves no task; the data has Demo"),
        (
            {"styles": ("online_judge",)},
            "tasks.styles leaves no task; the data has complete, instruct",
        ),
        (
            {"subsets": ("demo",), "difficulties": ("extreme",)},
            "tasks.difficulties leaves no task; the data has easy, hard, medium",
        ),
    ],
)
def test_a_filter_that_leaves_nothing_is_named(
    source: str, section: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(TasksConfig(source=source, **section))


def test_importable_only(tmp_path: Path) -> None:
    rows = [*ROWS, row(90, solution="import scipy\ndef f90():\n    return 90\n")]
    path = write(tmp_path / "t.jsonl", rows)
    assert len(read_rows(Path(path))) == len(rows)
    kept = load(TasksConfig(source=path, importable_only=True))
    assert len(kept.train) + len(kept.held_out) == len(ROWS)
    every = load(
        TasksConfig(source=path, importable_only=True), available=SANDBOX_MODULES | {"scipy"}
    )
    assert len(every.train) + len(every.held_out) == len(rows)
    with pytest.raises(UserError, match=r"tasks\.importable_only leaves no task"):
        load(TasksConfig(source=write(tmp_path / "u.jsonl", rows[-1:]), importable_only=True))


def test_one_group_cannot_be_split(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [row(0, "I"), row(0, "C")])
    with pytest.raises(UserError, match="belong to one group"):
        load(TasksConfig(source=path))


def test_a_test_with_its_own_solution_is_dropped_with_a_reason(tmp_path: Path) -> None:
    own = "def f90():\n    return 90\n\ndef test_it():\n    assert f90() == 90\n"
    path = write(tmp_path / "t.jsonl", [*ROWS, row(90, test=own)])
    tasks = load(TasksConfig(source=path))
    assert tasks.dropped == {
        "Demo_90_I": "its tests carry their own copy of the solution: they pass for any answer"
    }
    assert "Demo_90_I" not in {t.id for t in tasks.train + tasks.held_out}


# --- real rows


@pytest.mark.parametrize(
    ("name", "rows", "vacuous", "unavailable"),
    [
        ("kodcode_demo_rows", 232, 4, 2),
        ("mbpp_kodcode", 974, 0, 0),
        ("humaneval_kodcode", 164, 0, 0),
        ("mbppplus_kodcode", 374, 0, 0),
        ("oj_kodcode", 5, 0, 0),
    ],
)
def test_real_files(name: str, rows: int, vacuous: int, unavailable: int) -> None:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    tasks = read_rows(path)
    assert len(tasks) == rows
    assert sum(map(is_vacuous, tasks)) == vacuous
    assert sum(not importable(t, SANDBOX_MODULES) for t in tasks) == unavailable
    with path.open(encoding="utf-8") as lines:
        metadata = [json.loads(line)["metadata"] for line in lines]
    for task, about in zip(tasks, metadata, strict=True):
        if task.kind == "stdio":
            cases = json.loads(task.test)
            assert len(cases["stdin"]) == len(cases["stdout"]) == about["n_tests"]
            continue
        assert task.declaration is not None
        assert task.entry_point is not None
        if "imports" in about:
            assert set(task.entry_point.split(",")) == set(about["imports"])
        for entry in task.entry_point.split(","):
            assert f"def {entry}(" in task.declaration or f"class {entry}" in task.declaration
    split = load(TasksConfig(source=str(path)))
    assert len(split.train) + len(split.held_out) + len(split.dropped) == rows
