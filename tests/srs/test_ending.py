"""How commands end: each kind of failure has its exit code and its line."""

from collections.abc import Callable

import pytest

from sandbox.runner import SandboxError
from srs.child import ChildError
from srs.ending import exit_code
from srs.types import UserError


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "alone", "to_go_on"),
    [
        (UserError("no such file"), 2, "error: no such file\n", "error: no such file\n"),
        (ChildError("it died: log"), 1, "error: it died: log\n", "error: it died: log\nonce more\n"),
        (SandboxError("gone"), 3, "error: the sandbox failed: gone\n",
         "error: the sandbox failed: gone; once more\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n", "error: interrupted; once more\n"),
    ],
)  # fmt: skip
def test_each_failure_has_its_code_and_line(
    error: BaseException,
    code: int,
    alone: str,
    to_go_on: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code(raising(error)) == code
    assert capsys.readouterr().err == alone
    assert exit_code(raising(error), again="once more") == code
    assert capsys.readouterr() == ("", to_go_on)


def test_what_is_done_ends_with_0_and_silence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: "anything", again="once more") == 0
    assert capsys.readouterr() == ("", "")


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)
