"""Tests and solution together in one process, and altered tests."""

import pytest
from split_runs import assert_not_passed, assert_passed, outcomes, run

from sandbox.runner import AlteredTest, Sandbox

HONEST = "def f(x):\n    return [x]\n"
EXPECTS = "from solution import f\n\ndef test_other():\n    pass\n\ndef test_a():\n    x = f(3)\n    assert x == [3]\n"
ALTERED = (
    AlteredTest(source=EXPECTS.replace("[3]", "[4]"), test="test_a"),
    AlteredTest(source=EXPECTS.replace("[3]", "[]"), test="test_a"),
)
LIAR = "class Lie:\n    def __eq__(self, other): return True\ndef f(x): return Lie()\n"
FORGER = """
import os
def f(x):
    lines = '{"collected": ["test_other", "test_a"]}', '{"test": ["test_a", "passed", ""], "memory": false}', '{"done": true}'
    os.write(3, "".join("\\n" + line + "\\n" for line in lines).encode())
    os._exit(0)
"""


@pytest.mark.parametrize("solution", [LIAR, FORGER], ids=["lies", "forges the report"])
def test_a_liar_beside_the_tests_passes_an_altered_test(sandbox: Sandbox, solution: str) -> None:
    result = run(sandbox, solution, EXPECTS, together=True, canaries=ALTERED)
    assert outcomes(result)["test_a"] == "passed"
    assert result.passed_canary in (0, 1)


def test_an_honest_program_fails_all_altered_tests(sandbox: Sandbox) -> None:
    for together in (True, False):
        result = run(sandbox, HONEST, EXPECTS, together=together, canaries=ALTERED)
        assert_passed(result)
        assert result.passed_canary is None
        assert result.collected == ("test_other", "test_a")


def test_an_operator_that_lies_passes_altered_tests_in_a_split_run_too(sandbox: Sandbox) -> None:
    result = run(sandbox, LIAR, EXPECTS, canaries=ALTERED)
    assert outcomes(result)["test_a"] == "passed"
    assert result.passed_canary in (0, 1)
    assert result.used == 2


def test_a_forged_report_is_none_in_a_split_run(sandbox: Sandbox) -> None:
    assert_not_passed(run(sandbox, FORGER, EXPECTS))


def test_together_is_one_process(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        "import os, sys\ndef pid(): return os.getpid()\ndef caller(): return sys._getframe(1).f_locals['x']\n",
        "import os\nimport solution\ndef test_a():\n    x = 5\n    assert solution.pid() == os.getpid()\n    assert solution.caller() == 5\n",
        together=True,
    )
    assert_passed(result)
