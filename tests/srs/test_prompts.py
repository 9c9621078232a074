from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_model import make_task, make_tokenizer

from srs.prompts import (
    TEXT,
    answer,
    answer_kind,
    completion_ids,
    extract_code,
    prompt_ids,
    render,
    repair_prompt,
    stops,
    user_message,
    uses_chat,
)
from srs.types import Task, UserError

# The families' documented chat formats, as the least Jinja that writes them.
QWEN = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEEPSEEK_SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek "
    "Company, and you only answer questions related to computer science. For politically sensitive "
    "questions, security and privacy issues, and other non-computer science questions, you will "
    "refuse to answer\n"
)
DEEPSEEK = (
    "{{ bos_token }}" + DEEPSEEK_SYSTEM + "{% for m in messages %}{% if m.role == 'user' %}"
    "### Instruction:\n{{ m.content }}\n{% else %}### Response:\n{{ m.content }}\n<|EOT|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}### Response:\n{% endif %}"
)
LLAMA = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
MESSAGE = (
    "Add 3 to x.\n\nStart from this declaration:\n```python\ndef add_3(x):\n```\n\n"
    "Answer with one Python code block."
)
PLAIN = f"### Problem\n{MESSAGE}\n\n### Answer\n```python\n"
DEEPSEEK_BOS = "<｜begin▁of▁sentence｜>"  # noqa: RUF001  the real token
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen": {"bos": None, "eos": "<|im_end|>", "chat_template": QWEN},
    "deepseek": {"bos": DEEPSEEK_BOS, "eos": "<|EOT|>", "chat_template": DEEPSEEK},
    "codellama": {"bos": "<s>", "eos": "</s>", "chat_template": LLAMA},
}
GOLDEN = {
    "qwen": (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        f"<|im_end|>\n<|im_start|>user\n{MESSAGE}<|im_end|>\n<|im_start|>assistant\n"
    ),
    "deepseek": (
        f"{DEEPSEEK_BOS}{DEEPSEEK_SYSTEM}### Instruction:\n{MESSAGE}\n### Response:\n"
    ),
    "codellama": f"<s>[INST] {MESSAGE} [/INST]",
}  # fmt: skip
TASK = make_task(3)
PROGRAM = "def add_3(x):\n    return x + 3\n"


@pytest.mark.parametrize("family", FAMILIES)
def test_instruct_models_get_their_chat_template(family: str) -> None:
    tokenizer = make_tokenizer(**FAMILIES[family])
    assert uses_chat(tokenizer, "auto")
    assert render(TASK, tokenizer, chat=True) == GOLDEN[family]
    assert stops(chat=True) == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_base_models_get_the_plain_prompt(family: str) -> None:
    tokenizer = make_tokenizer(**{**FAMILIES[family], "chat_template": None})
    assert not uses_chat(tokenizer, "auto")
    assert render(TASK, tokenizer, chat=False) == PLAIN
    assert stops(chat=False) == ("\n```",)
    with pytest.raises(UserError, match=r"model\.template"):
        uses_chat(tokenizer, "chat")


def test_plain_overrides_a_base_models_chat_template() -> None:
    assert not uses_chat(make_tokenizer(), "plain")


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_training_continues_the_very_tokens_of_generation(family: str, chat: bool) -> None:
    tokenizer = make_tokenizer(**FAMILIES[family])
    prompt, completion = render(TASK, tokenizer, chat=chat), answer(PROGRAM, chat=chat)
    before, after = completion_ids(prompt, completion, tokenizer, chat=chat)
    assert before == prompt_ids(prompt, tokenizer, chat=chat)
    assert before.count(tokenizer.bos_token_id) == (1 if FAMILIES[family]["bos"] else 0)
    assert tokenizer.decode(before).endswith(prompt.removeprefix(FAMILIES[family]["bos"] or ""))
    assert tokenizer.decode(after) == completion + (tokenizer.eos_token if chat else "")


def test_a_token_across_the_boundary_leaves_the_prompt_alone() -> None:
    tokenizer = make_tokenizer()
    prompt, completion = "def add_one(x):\n    ret", "urn x"
    joint = tokenizer.encode(prompt + completion)
    before, after = completion_ids(prompt, completion, tokenizer, chat=False)
    assert joint[: len(before)] != before, "not the case this test is for"
    assert before == tokenizer.encode(prompt)
    assert tokenizer.decode(before + after) == prompt + completion


def test_stdio_tasks_are_told_how_to_read_and_write() -> None:
    task = Task(id="a", group="a", kind="stdio", style="online_judge", subset="x", question=" Sum. ", declaration="def f():", entry_point=None, test="{}", reference=None)  # fmt: skip
    assert user_message(task) == (
        "Sum.\n\nRead from standard input and write to standard output.\n\n"
        "Answer with one Python code block."
    )


JUDGE = dataclasses.replace(
    TASK, style=TEXT, question="Is it right?\nReply with JSON.\n", test="", declaration="def f():"
)


@pytest.mark.parametrize("family", FAMILIES)
def test_who_is_asked_for_words_is_not_asked_for_a_program(family: str) -> None:
    words = "Is it right?\nReply with JSON."
    assert user_message(JUDGE) == words
    tokenizer = make_tokenizer(**FAMILIES[family])
    assert render(JUDGE, tokenizer, chat=True) == GOLDEN[family].replace(MESSAGE, words)
    assert render(JUDGE, tokenizer, chat=False) == f"### Problem\n{words}\n\n### Answer\n```text\n"


def test_only_a_task_without_tests_wants_words() -> None:
    """A row of a data set can't turn its prompt into another by the name of its style."""
    graded = dataclasses.replace(JUDGE, test=TASK.test or "def test_a(): pass\n")
    assert (answer_kind(JUDGE), answer_kind(graded), answer_kind(TASK)) == ("text", "code", "code")
    assert user_message(graded).endswith("Answer with one Python code block.")


A, B = "def a():\n    return b()\n", "def b():\n    return 1\n"


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param([A + B, B], A + B, id="all of them before the last"),
        pytest.param([A, B], B, id="as many: the last"),
        pytest.param([B, A, "def c(): pass\n"], A, id="one before none"),
        pytest.param([A + B, "print(a())\n"], A + B, id="usage after it"),
        pytest.param(["x = 1\n", "def c(): pass\n"], "def c(): pass\n", id="none of them"),
    ],
)
@pytest.mark.parametrize("entry_point", ["a,b", "b, a", " a,b,"])
def test_a_task_may_name_several_entry_points(
    blocks: list[str], expected: str, entry_point: str
) -> None:
    completion = "\n".join(f"Here:\n```python\n{block}```\n" for block in blocks)
    assert extract_code(completion, entry_point) == expected


@settings(deadline=None)
@given(st.permutations(["a", "b", "c"]), st.lists(st.sets(st.sampled_from("abcd")), min_size=1))
def test_no_block_defines_more_of_the_names_than_the_one_taken(
    names: list[str], blocks: list[set[str]]
) -> None:
    def program(defined: set[str]) -> str:
        return "x = 1\n" + "".join(f"def {name}(): pass\n" for name in sorted(defined))

    completion = "\n".join(f"```python\n{program(block)}```" for block in blocks)
    most = max(len(block & set(names)) for block in blocks)
    taken = extract_code(completion, ",".join(names))
    assert taken in [program(block) for block in blocks if len(block & set(names)) == most]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        pytest.param(f"```python\n{PROGRAM}```", PROGRAM, id="chat answer"),
        pytest.param(PROGRAM, PROGRAM, id="plain answer, cut at its stop"),
        pytest.param(f"{PROGRAM}```\nprose", PROGRAM.rstrip("\n"), id="plain answer, not cut"),
        pytest.param(f"Sure!\n\n```python\n{PROGRAM}```\n\nIt adds.", PROGRAM, id="prose around"),
        pytest.param(f"```\n{PROGRAM}```", PROGRAM, id="no language"),
        pytest.param(f"```Python3 title=a\n{PROGRAM}```", PROGRAM, id="language in capitals"),
        pytest.param(f"````python\n{PROGRAM}````", PROGRAM, id="four ticks"),
        pytest.param(f"```python\r\n{PROGRAM}```", PROGRAM, id="carriage return"),
        pytest.param(f"```python\n{PROGRAM}", PROGRAM, id="unclosed fence"),
        pytest.param(f"```bash\nls\n```\n```python\n{PROGRAM}```", PROGRAM, id="other language"),
        pytest.param(
            "1. Do:\n   ```python\n   def add_3(x):\n       return x + 3\n   ```",
            PROGRAM,
            id="indented fence",
        ),
        pytest.param(
            f"```python\n{PROGRAM}```\nFor example:\n```python\nprint(add_3(1))\n```",
            PROGRAM,
            id="usage after it",
        ),
        pytest.param(
            f"```python\ndef add_3(x): pass\n```\nBetter:\n```python\n{PROGRAM}```",
            PROGRAM,
            id="the last definition",
        ),
        pytest.param(
            f"```python\n{PROGRAM}```\n```python\ndef test_it():\n    assert add_3(1)\n```",
            PROGRAM,
            id="own tests after it",
        ),
        pytest.param(
            f"```python\n{PROGRAM}```\n```python\ndef add_3(x:\n```", PROGRAM, id="one is broken"
        ),
        pytest.param("print(input())", "print(input())", id="script"),
        pytest.param(
            f"<think>\n```python\nwrong = 1\n```\n</think>\n```python\n{PROGRAM}```",
            PROGRAM,
            id="thought aloud",
        ),
        pytest.param(f"so it is\n</think>\n{PROGRAM}", f"\n{PROGRAM}", id="thought in the prompt"),
        pytest.param("<think>\n```python\nx = 1\n```\nand", None, id="still thinking"),
        pytest.param("```python\ndef add_3(x):\n    return (\n```", None, id="syntax error"),
        pytest.param("I cannot do that.", None, id="prose only"),
        pytest.param("```python\nx = '\0'\n```", None, id="null byte"),
        pytest.param("x = '\ud800'", None, id="lone surrogate"),
        pytest.param("```python\n```", None, id="empty block"),
        pytest.param("# a comment", None, id="nothing but a comment"),
        pytest.param("", None, id="nothing"),
        pytest.param("(" * 500, None, id="too deep"),
    ],
)
def test_extracted_code(completion: str, expected: str | None) -> None:
    assert extract_code(completion, "add_3") == expected


@pytest.mark.filterwarnings("error")
def test_dubious_escapes_are_code_without_a_warning() -> None:
    code = "def f():\n    return '\\d'\n"
    assert extract_code(code) == code


@given(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(str.isidentifier),
    st.lists(st.integers(), min_size=1, max_size=5),
    st.booleans(),
)
def test_what_is_answered_is_what_is_extracted(name: str, values: list[int], chat: bool) -> None:
    code = f"def f_{name}(x):\n    return x in {values!r}\n"
    completion = answer(code, chat=chat)
    for stop in stops(chat=chat):
        completion = completion.partition(stop)[0]
    extracted = extract_code(completion, f"f_{name}")
    assert extracted is not None
    assert extracted.strip() == code.strip()


@given(st.text(alphabet="`\n pydef():x=1<>/think", max_size=80))
def test_extraction_never_raises_and_yields_what_parses(completion: str) -> None:
    code = extract_code(completion)
    assert code is None or compile(code, "a", "exec", flags=1024)  # ast.PyCF_ONLY_AST


def test_a_repair_prompt_keeps_the_task() -> None:
    task = make_task(3)
    question = repair_prompt(task, "def add_3(x):\n    return x\n", ["Line 2: wrong", "0 of 1 pass.\nE  3 == 4"])  # fmt: skip
    assert question == (
        f"{task.question}\n\n"
        "An earlier answer was:\n```python\ndef add_3(x):\n    return x\n```\n\n"
        "What is wrong with the earlier answer:\n- Line 2: wrong\n- 0 of 1 pass.\n  E  3 == 4\n\n"
        "Write the whole program again, with this put right."
    )
    asked = user_message(dataclasses.replace(task, question=question))
    assert asked.startswith(question)
    assert asked.endswith(user_message(task).removeprefix(task.question))


def test_a_repair_prompt_without_a_program_or_without_a_problem() -> None:
    assert "earlier answer was" not in repair_prompt(make_task(3), None, ["no program"])
    with pytest.raises(ValueError, match="nothing to repair"):
        repair_prompt(make_task(3), "x = 1", [])


def test_a_repair_prompt_is_bounded() -> None:
    question = repair_prompt(make_task(3), "x = 1", [f"{i}:" + "long " * 1000 for i in range(14)])
    assert "- 9:long" in question
    assert "- 10:long" not in question
    assert question.count(" …") == 10
    assert "- and 4 more\n" in question
    assert len(question) < 10 * 620 + 400


@given(st.text(alphabet="`ab\n", max_size=40))
def test_the_fence_holds_any_program(code: str) -> None:
    """The opening fence comes again only where it closes: no line of the program ends the block."""
    question = repair_prompt(make_task(3), code, ["wrong"])
    fence = question.partition("An earlier answer was:\n")[2].partition("python\n")[0]
    assert set(fence) == {"`"}
    assert question.count(fence) == 2
