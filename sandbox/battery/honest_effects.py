"""Honest programs that use the machine: threads, processes, files, signals, memory, exits."""

from sandbox.battery.program import honest

PROGRAMS = (
    honest(
        "deep_recursion",
        "recursion to a depth of 5000, and one that ends in RecursionError",
        """
import sys
def depth(n):
    sys.setrecursionlimit(20_000)
    return 0 if n == 0 else 1 + depth(n - 1)
def endless():
    return endless()
""",
        """
import pytest
from solution import depth, endless
def test_depth():
    assert depth(5000) == 5000
def test_endless():
    with pytest.raises(RecursionError):
        endless()
""",
    ),
    honest(
        "prints",
        "prints some 100 KiB on the way",
        """
def noisy(n):
    for i in range(n):
        print("line", i, "x" * 80)
    return n
""",
        """
from solution import noisy
def test_noise():
    assert noisy(1000) == 1000
""",
    ),
    honest(
        "threads",
        "threads with locks and queues, one of them left running",
        """
import queue, threading
def squares(numbers):
    todo, done, lock = queue.Queue(), [], threading.Lock()
    def work():
        while True:
            n = todo.get()
            with lock:
                done.append(n * n)
            todo.task_done()
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    for n in numbers:
        todo.put(n)
    todo.join()
    return sorted(done)
""",
        """
from solution import squares
def test_threads():
    assert squares(range(20)) == [n * n for n in range(20)]
""",
    ),
    honest(
        "processes",
        "a subprocess and a pool",
        """
import multiprocessing, subprocess, sys
def square(n):
    return n * n
def shell():
    ran = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
    return int(ran.stdout)
def pooled(numbers):
    with multiprocessing.Pool(2) as pool:
        return pool.map(square, numbers)
""",
        """
from solution import pooled, shell
def test_processes():
    assert shell() == 42
    assert pooled([1, 2, 3]) == [1, 4, 9]
""",
    ),
    honest(
        "coroutines",
        "asyncio with tasks, a timeout and an asynchronous generator",
        """
import asyncio
async def ticks(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i
async def gather(n):
    return [i async for i in ticks(n)]
async def slow():
    await asyncio.sleep(1)
""",
        """
import asyncio
import pytest
from solution import gather, slow
def test_async():
    assert asyncio.run(gather(3)) == [0, 1, 2]
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(slow(), 0.05))
""",
    ),
    honest(
        "loopback",
        "a server and a client of its own on the loopback device",
        """
import socket, threading
def echo(data):
    server = socket.create_server(("127.0.0.1", 0))
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())
    threading.Thread(target=serve, daemon=True).start()
    with socket.create_connection(server.getsockname()) as client, server:
        client.sendall(data)
        return client.recv(100)
""",
        """
from solution import echo
def test_echo():
    assert echo(b"abc") == b"ABC"
""",
    ),
    honest(
        "files",
        "temporary files, the home directory and SQLite",
        """
import os, pathlib, sqlite3, tempfile
def stored(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "ü.txt")
        path.write_text(text)
        (pathlib.Path.home() / "copy").write_text(path.read_text())
    return (pathlib.Path.home() / "copy").read_text()
def query(path):
    with sqlite3.connect(path) as db:
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(1,), (2,)])
        return db.execute("select sum(x) from t").fetchone()[0]
""",
        """
from solution import query, stored
def test_files(tmp_path):
    assert stored("naïve ✓") == "naïve ✓"
    assert query(tmp_path / "db") == 3
""",
    ),
    honest(
        "own_alarm",
        "a time limit of its own by SIGALRM",
        """
import signal, time
def limited(seconds, limit):
    def stop(*_):
        raise TimeoutError
    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        time.sleep(seconds)
        return "done"
    except TimeoutError:
        return "late"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
""",
        """
from solution import limited
def test_limit():
    assert limited(0, 1) == "done"
    assert limited(1, 0.05) == "late"
""",
    ),
    honest(
        "last_words",
        "an exit handler, a finalizer and an unclosed file",
        """
import atexit, os
atexit.register(print, "bye")
class Resource:
    def __del__(self):
        print("closed")
held = Resource()
handle = open(os.devnull)
def ready():
    return not handle.closed
""",
        """
from solution import ready
def test_ready():
    assert ready()
""",
    ),
    honest(
        "too_much_and_caught",
        "asks for more memory than there is and copes",
        """
def fits(n):
    try:
        bytearray(n)
    except (MemoryError, OverflowError):
        return False
    return True
""",
        """
from solution import fits
def test_memory():
    assert fits(50 << 20)
    assert not fits(1 << 60)
""",
    ),
)
