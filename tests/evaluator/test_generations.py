import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.benchmark_rows import Opening
from evaluator.benchmarks import Benchmark
from evaluator.generations import (
    candidates,
    generations_text,
    program,
    read_answers,
    samples_text,
)
from srs.types import Task, UserError

HEAD = 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """The sum."""\n'
OPENING = Opening(head=HEAD, preamble="from typing import List")
BODY = "    return sum(xs)\n"
WHOLE = "def total(xs):\n    return sum(xs)\n"


def make_task(id: str = "T/0", entry_point: str | None = "total") -> Task:
    return Task(
        id=id, group="g", kind="pytest", style="complete", subset="T", question=HEAD, declaration=None,
        entry_point=entry_point, test="def test_it():\n    assert total([1]) == 1\n", reference=HEAD + BODY,
    )  # fmt: skip


def make_benchmark(n: int = 3) -> Benchmark:
    tasks = tuple(make_task(f"T/{i}") for i in range(n))
    return Benchmark(
        name="b", path=Path("b.jsonl"), schema="humaneval", sha256="", tasks=tasks, openings={}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BODY, HEAD + BODY),
        ("return sum(xs)", "from typing import List\n\n\nreturn sum(xs)"),  # nobody mends it
        ("```python\ndef sum_up(xs):\n    return 0\n```", "from typing import List\n\n\ndef sum_up(xs):\n    return 0\n"),
        ("    # nothing comes to mind\n", None),
        (HEAD + BODY, HEAD + BODY),
        (WHOLE, f"from typing import List\n\n\n{WHOLE}"),
        (f"It is easy:\n```python\n{WHOLE}```\nDone.", f"from typing import List\n\n\n{WHOLE}"),
        ("```python\n" + HEAD + BODY + "```", HEAD + BODY),
        ("I can't do this.", None),
        ("", None),
        ("from __future__ import annotations\n" + WHOLE, "from __future__ import annotations\n" + WHOLE),
        ('def total(xs):\n    """\n    ```python\n    x = 1\n    ```\n    """\n' + BODY,
         'from typing import List\n\n\ndef total(xs):\n    """\n    ```python\n    x = 1\n    ```\n    """\n' + BODY),
    ],
)  # fmt: skip
def test_the_program_in_an_answer(text: str, expected: str | None) -> None:
    assert program(make_task(), text, OPENING) == expected


def test_without_a_head_nothing_is_continued() -> None:
    assert program(make_task(), BODY, Opening()) is None
    assert program(make_task(entry_point=None), "x = 1\n", Opening()) == "x = 1\n"


def test_the_program_of_a_program_is_itself() -> None:
    """So that answers written to a file and graded from it get the same verdicts."""
    wrong_name = WHOLE.replace("total", "sum_up")
    for text in (BODY, WHOLE, HEAD + BODY, f"```python\n{WHOLE}```", f"```\n{wrong_name}```"):
        once = program(make_task(), text, OPENING)
        assert once
        assert program(make_task(), once, OPENING) == once


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_program_or_none(text: str) -> None:
    found = program(make_task(), text, OPENING)
    if found is not None:
        assert program(make_task(), found, OPENING) == found


@settings(deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=12), min_size=2, max_size=2), min_size=3, max_size=3),
    st.sampled_from(["generations.json", "samples.jsonl"]),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[str]], name: str
) -> None:
    benchmark = make_benchmark()
    programs = {task.id: found for task, found in zip(benchmark.tasks, texts, strict=True)}
    write = generations_text if name.endswith(".json") else samples_text
    path = tmp_path_factory.mktemp("answers") / name
    path.write_text(write(benchmark.tasks, programs))
    assert read_answers(path, benchmark) == programs


def test_the_order_of_samples_is_free(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [{"task_id": f"T/{i}", "completion" if i else "solution": f"a{n}{i}"} for n in (0, 1) for i in (2, 0, 1)]  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows))
    answers = read_answers(path, make_benchmark())
    assert list(answers.items()) == [("T/0", ["a00", "a10"]), ("T/1", ["a01", "a11"]), ("T/2", ["a02", "a12"])]  # fmt: skip


SAMPLE = '{"task_id": "T/%s", "solution": "x"}\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("g.json", "[[", "g.json: not JSON"),
        ("g.json", '{"a": 1}', "expected a list per task, of texts"),
        ("g.json", '[["a"], ["b"], [3]]', "expected a list per task, of texts"),
        ("g.json", '[["a"], ["b"]]', r"2 lists for the 3 tasks of b; without one: T/2\. .* --limit 2"),
        ("g.json", '[["a"], ["b"], ["c"], ["d"]]', "lists 4 to 4 belong to no task"),
        ("g.json", '[["a"], ["b", "c"], ["d"]]', "T/1 has 2 answers and T/0 has 1"),
        ("g.json", "[[], [], []]", "holds no answers"),
        ("s.jsonl", SAMPLE % 0 + SAMPLE % 2, "no answers for these tasks of b: T/1"),
        ("s.jsonl", SAMPLE % 0 + SAMPLE % 7 + SAMPLE % "00", "not tasks of b: T/7, T/00"),
        ("s.jsonl", SAMPLE % 0 + "{\n", "s.jsonl:2: not JSON"),
        ("s.jsonl", SAMPLE % 0 + "3\n", "s.jsonl:2: expected an object, got int"),
        ("s.jsonl", '{"task_id": "T/0"}\n', "s.jsonl:1: needs task_id and one of solution and completion"),
        ("s.jsonl", '{"task_id": 0, "solution": "x"}\n', "s.jsonl:1: needs task_id and one of"),
        ("s.txt", "", r"expected generations \(\.json\) or samples \(\.jsonl\)"),
    ],
)  # fmt: skip
def test_what_doesnt_fit_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / name, make_benchmark())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the answers: No such file"):
        read_answers(tmp_path / "gone.json", make_benchmark())


def test_candidates_come_in_the_benchmarks_order() -> None:
    answers = {"T/2": [WHOLE], "T/0": ["no code here", WHOLE]}
    found = candidates(make_benchmark(), answers, "base")
    assert [(c.task, c.index, c.code) for c in found] == [
        ("T/0", 0, None),
        ("T/0", 1, WHOLE),
        ("T/2", 0, WHOLE),
    ]
