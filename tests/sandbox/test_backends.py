"""What every backend must see, and what no program may do to its neighbours."""

import socket
import textwrap

import pytest

from sandbox.runner import Job, Limits, Sandbox
from srs.types import ExecResult

ADD = "def add(a, b):\n    return a + b\n"
TEST_ADD = "from solution import add\n\ndef test_one():\n    assert add(1, 2) == 3\n\ndef test_two():\n    assert add(0, 0) == 0\n"


def run(
    sandbox: Sandbox,
    solution: str,
    test: str | None = TEST_ADD,
    *,
    stdin: tuple[str, ...] = (),
    limits: Limits | None = None,
) -> ExecResult:
    job = Job(
        solution=textwrap.dedent(solution),
        test=None if test is None else textwrap.dedent(test),
        stdin=stdin,
        limits=limits or Limits(timeout_s=10),
    )
    (result,) = sandbox.run([job])
    return result


def outcomes(result: ExecResult) -> dict[str, str]:
    return {report.id: report.outcome for report in result.reports}


def test_each_test_is_reported(sandbox: Sandbox) -> None:
    result = run(sandbox, ADD)
    assert result.status == "finished"
    assert result.collected == ("test_one", "test_two")
    assert outcomes(result) == {"test_one": "passed", "test_two": "passed"}


def test_a_failure_says_what_was_compared(sandbox: Sandbox) -> None:
    result = run(sandbox, "def add(a, b):\n    return a * b\n")
    assert result.status == "finished"
    assert outcomes(result) == {"test_one": "failed", "test_two": "passed"}
    assert "2 == 3" in result.reports[0].message


@pytest.mark.parametrize(
    ("solution", "status"),
    [
        ("import os\nos._exit(0)", "died"),
        ("import os\ndef add(a, b):\n    os._exit(0)", "died"),
        ("import os, signal\ndef add(a, b):\n    os.kill(os.getpid(), signal.SIGKILL)", "died"),
        ("import pytest\npytest.exit('ok', returncode=0)", "error"),
        ("import pytest\ndef add(a, b):\n    pytest.exit('ok', returncode=0)", "finished"),
        ("def add(a, b):\n    while True: pass", "timeout"),
        (
            "import time\ndef add(a, b):\n    try:\n        time.sleep(99)\n    except BaseException:\n        time.sleep(99)",
            "timeout",
        ),
        (
            "import signal, time\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\ntime.sleep(99)",
            "timeout",
        ),
        ("def add(a, b):\n    x = []\n    while True: x.append(bytearray(1 << 20))", "memory"),
        ("def add(a, b):\n    while True: print('x' * 1000)", "output_limit"),
        ("def ad(a, b): return a + b", "error"),
        ("def add(a, b: return", "error"),
        ("x = '\0'\n" + ADD, "error"),
        ("x = '\ud800'\n" + ADD, "error"),
        ("", "error"),
    ],
)
def test_how_a_program_ends(sandbox: Sandbox, solution: str, status: str) -> None:
    result = run(sandbox, solution, limits=Limits(timeout_s=1.5, memory_mib=256))
    assert result.status == status, result
    assert run(sandbox, ADD).status == "finished"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"test": 1}',
        '{"test": ["a", "b", 3]}',
        '{"collected": 7}',
        '{"x": ' + "[" * 9000,
    ],
)
def test_nonsense_on_the_report_pipe_breaks_no_worker(sandbox: Sandbox, text: str) -> None:
    solution = f"import os\nfor fd in range(3, 20):\n    try: os.write(fd, {text + chr(10)!r}.encode())\n    except OSError: pass\nos.kill(os.getpid(), 40)"
    result = run(sandbox, solution)
    assert result.status == "died"
    assert "40" in result.detail or "no usable answer" in result.detail
    assert run(sandbox, ADD).status == "finished"


def test_output_and_threads_do_not_delay_the_verdict(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        """
        import atexit, os, threading, time
        atexit.register(time.sleep, 60)
        threading.Thread(target=time.sleep, args=(60,)).start()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)  # holds stdout and the report pipe open
            os._exit(0)
        def add(a, b):
            return a + b
        """,
        limits=Limits(timeout_s=30),
    )
    assert result.status == "finished"
    assert result.wall_s < 10


def test_pytest_features(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        "import sys\ndef f(x):\n    print(x)\n    return x\ndef quit():\n    sys.exit(1)\n",
        """
        import unittest
        import pytest
        import solution
        from solution import f

        @pytest.fixture
        def seven():
            return 7

        @pytest.mark.parametrize("n", [1, 2])
        def test_n(n, capsys, tmp_path, monkeypatch):
            monkeypatch.setattr(solution, "f", None)
            (tmp_path / "x").write_text("x")
            assert f(n) == n
            assert capsys.readouterr().out == f"{n}\\n"

        def test_exit():
            with pytest.raises(SystemExit):
                solution.quit()

        class TestIt:
            def test_m(self, seven):
                assert f(seven) == 7

        class Case(unittest.TestCase):
            def setUp(self):
                self.x = 1
            def test_u(self):
                self.assertEqual(f(self.x), 1)

        @pytest.mark.skip(reason="not here")
        def test_skipped():
            pass
        """,
    )
    assert result.status == "finished"
    assert outcomes(result) == {
        "test_n[1]": "passed",
        "test_n[2]": "passed",
        "test_exit": "passed",
        "TestIt::test_m": "passed",
        "Case::test_u": "passed",
        "test_skipped": "skipped",
    }


def test_only_tests_of_the_test_file_count(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        ADD + "def test_of_the_solution():\n    assert False\n",
        "from solution import *\ndef test_own():\n    assert add(1, 1) == 2\n",
    )
    assert result.collected == ("test_own",)


def test_an_honest_program_may_be_odd(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        """
        import inspect, multiprocessing, pickle, subprocess, sys
        class Box:
            def __init__(self, x): self.x = x
        def add(a, b):
            assert "class Box" in inspect.getsource(sys.modules[__name__])
            assert pickle.loads(pickle.dumps(Box(a))).x == a
            assert subprocess.run(["echo", "hi"], capture_output=True).stdout == b"hi\\n"
            with multiprocessing.Pool(1) as pool:
                return pool.apply(sum, ([a, b],))
        """,
    )
    assert set(outcomes(result).values()) == {"passed"}, result


def test_scripts_run_once_per_input(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        """
        import atexit, threading
        def main():
            n = int(input())
            if n == 3:
                raise ValueError("three")
            print(n * 2)
        if __name__ == "__main__":
            atexit.register(print, "bye")
            threading.Thread(target=main).start() if input() == "t" else main()
        """,
        None,
        stdin=("t\n1\n", "m\n2\n", "m\n3\n"),
    )
    assert result.status == "finished"
    assert result.outputs == ("2\nbye\n", "4\nbye\n", "bye\n")
    assert [r.outcome for r in result.reports] == ["passed", "passed", "failed"]
    assert "three" in result.reports[2].message


@pytest.mark.parametrize(
    ("script", "output"),
    [
        (
            "import atexit, io, sys\nbuffer = sys.stdout = io.StringIO()\nprint('kept')\n"
            "atexit.register(lambda: sys.__stdout__.write(buffer.getvalue()))",
            "kept\n",
        ),
        ("print('first')\nout = open(1, 'w')\nout.write('unclosed')", "first\nunclosed"),
        (
            "def f():\n    return out\nout = open(1, 'w')\nf().write('in a cycle')",
            "in a cycle",
        ),
        (
            "import sys\nlast = 'bye'\nclass Farewell:\n    def __del__(self):\n        print(last)\n"
            "kept = Farewell()\nsys.stdout = None",
            "bye\n",
        ),
        (
            "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint('b')",
            "b\n",
        ),
        ("import sys\nprint('a')\nsys.stdout.close()", "a\n"),
        ("import sys\nsys.stdout = sys.__stdout__ = None", ""),
        (
            "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.detach())\nprint('a')",
            "a\n",
        ),
        ("import os, sys\nsys.stdout.write('a')\nsys.exit(0)", "a"),
    ],
    ids=["handler", "file", "cycle", "finaliser", "wrapped", "closed", "none", "detached", "exit"],
)
def test_what_a_script_prints_last_is_printed(sandbox: Sandbox, script: str, output: str) -> None:
    result = run(sandbox, script, None, stdin=("",))
    assert result.outputs == (output,)
    assert [r.outcome for r in result.reports] == ["passed"], result


def test_a_script_whose_output_cannot_be_written_fails(sandbox: Sandbox) -> None:
    result = run(sandbox, "import os\nprint('lost')\nos.close(1)", None, stdin=("",))
    assert [r.outcome for r in result.reports] == ["failed"]
    assert "Bad file descriptor" in result.reports[0].message


def test_a_hanging_script_times_out(sandbox: Sandbox) -> None:
    result = run(
        sandbox,
        "while True: pass",
        None,
        stdin=("", ""),
        limits=Limits(timeout_s=0.5),
    )
    assert result.status == "timeout"


def test_nothing_survives_a_job(sandbox: Sandbox) -> None:
    """Each program of many finds an empty place, whatever the one before left and however deep."""
    leave = """
        import os
        for place in ("/tmp", "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~")):
            try:
                open(place + "/left", "w").close()
            except OSError:
                pass
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.mkdir("closed")
        os.chmod("closed", 0)
        if os.fork() == 0:
            import time
            os.setsid()
            time.sleep(60)
        def add(a, b):
            return a + b
        """
    look = """
        import os
        places = ("/tmp", "/dev/shm", "/var/tmp", os.getcwd(), os.path.expanduser("~"))
        def add(a, b):
            assert not [p for p in places if os.path.exists(p + "/left") or os.path.exists(p + "/d")]
            return a + b
        """
    jobs = [
        Job(solution=textwrap.dedent(s), test=TEST_ADD, limits=Limits(timeout_s=10))
        for s in (leave, look) * 4
    ]
    for result in sandbox.run(jobs):
        assert set(outcomes(result).values()) == {"passed"}, result


def test_the_outside_is_out_of_reach(sandbox: Sandbox) -> None:
    if any("network" in gap for gap in sandbox.not_covered):
        pytest.skip(f"this kernel gives no network namespace: {sandbox.not_covered}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = run(
            sandbox,
            f"""
            import os, signal, socket
            def add(a, b):
                assert not [k for k in os.environ if "TOKEN" in k or k.startswith("SRS")]
                assert os.getuid() != 0
                try:
                    socket.create_connection(("127.0.0.1", {port}), timeout=1).close()
                    return "network"
                except OSError:
                    pass
                for path in (os.__file__, "/etc/passwd", "/proc/1/mem"):
                    try:
                        open(path, "r+b").close()
                        return path
                    except OSError:
                        pass
                try:
                    os.kill(1, signal.SIGKILL)
                    return "signal"
                except PermissionError:
                    return a + b
            """,
        )
    assert set(outcomes(result).values()) == {"passed"}, result
    assert run(sandbox, ADD).status == "finished"


def test_same_program_same_random_numbers(sandbox: Sandbox) -> None:
    job = Job(solution="import random\nprint(random.random(), hash('x'))", stdin=("",) * 3)
    first, second = sandbox.run([job, job])
    assert len(set(first.outputs + second.outputs)) == 1
