"""Programs that use up what there is, or never end. All are bounded, for where no wall holds them."""

from sandbox.battery.program import ADD, SCALE, SUM_LINES, Program

ATTACKS = (
    Program(
        name="flood_forks",
        why="children that have children, up to 2000",
        problem=ADD,
        solution="""
import os, time

end = time.monotonic() + 20
for _ in range(11):
    try:
        os.fork()
    except OSError:
        pass
while time.monotonic() < end:
    time.sleep(0.1)

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_sessions",
        why="each child in its own session, out of reach of a signal to the group",
        problem=ADD,
        solution="""
import os, time

for _ in range(500):
    try:
        if os.fork() == 0:
            os.setsid()
            time.sleep(20)
            os._exit(0)
    except OSError:
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_threads",
        why="threads until there are no more, up to 5000",
        problem=ADD,
        solution="""
import threading, time

for _ in range(5000):
    try:
        threading.Thread(target=time.sleep, args=(20,)).start()
    except RuntimeError:
        break

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_memory",
        why="up to 4 GiB in one process",
        problem=SCALE,
        solution="""
def scale(n, factor):
    held = [bytearray(b"x") * (1 << 20) for _ in range(4096)]
""",
    ),
    Program(
        name="flood_memory_of_children",
        why="up to 4 GiB, spread over processes each of which keeps to its limit",
        problem=ADD,
        solution="""
import os, time

for _ in range(20):
    try:
        if os.fork() == 0:
            held = bytearray(b"x") * (200 << 20)
            time.sleep(3)
            os._exit(0)
    except OSError:
        pass
time.sleep(1)

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_disk",
        why="up to 2 GiB in files of every directory that can be written",
        problem=ADD,
        solution="""
import os

block = b"x" * (1 << 20)
for place in (os.getcwd(), "/tmp", "/var/tmp", "/dev/shm"):
    for number in range(8):
        try:
            with open(f"{place}/fill-{number}", "wb") as file:
                for _ in range(64):
                    file.write(block)
        except OSError:
            pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_files",
        why="up to 200,000 empty files",
        problem=ADD,
        solution="""
import os, time

end = time.monotonic() + 1.5
try:
    for number in range(200_000):
        os.close(os.open(f"empty-{number}", os.O_CREAT | os.O_WRONLY))
        if time.monotonic() > end:
            break
except OSError:
    pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_descriptors",
        why="opens all it can, then needs one more",
        problem=ADD,
        solution="""
import os

held = []
try:
    while len(held) < 100_000:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="flood_stdout",
        why="prints without end, up to 1 GiB",
        problem=ADD,
        solution="""
def add(a, b):
    for _ in range(1 << 20):
        print("x" * 1023)
""",
    ),
    Program(
        name="flood_stderr",
        why="writes 100 MiB on stderr, then answers",
        problem=SUM_LINES,
        solution="""
import os

for _ in range(100):
    os.write(2, b"x" * (1 << 20))
print(0)
""",
    ),
    Program(
        name="flood_message",
        why="fails with a message of 100 million characters, half of them no text at all",
        problem=ADD,
        solution='def add(a, b):\n    raise ValueError("x\\ud800" * 50_000_000)\n',
    ),
    Program(
        name="flood_difference",
        why="an answer whose comparison with the right one takes pytest hours to explain",
        problem=ADD,
        solution="""
class Endless:
    def __repr__(self):
        while True:
            pass

def add(a, b):
    return Endless()
""",
    ),
    Program(
        name="crash_stack",
        why="recursion in C until the stack is gone",
        problem=ADD,
        solution="""
import sys
sys.setrecursionlimit(1 << 30)

class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x")

def add(a, b):
    return Deep().x
""",
    ),
    Program(
        name="crash_memory",
        why="writes to address 0",
        problem=SCALE,
        solution="import ctypes\n\ndef scale(n, factor):\n    ctypes.memset(0, 0, 8)\n",
    ),
    Program(
        name="crash_builtins",
        why="empties the builtins on which a reporter in the same process rests",
        problem=ADD,
        solution="""
import builtins

def add(a, b):
    vars(builtins).clear()
""",
    ),
    Program(
        name="crash_descriptors",
        why="closes every descriptor, the channel of its own report among them",
        problem=ADD,
        solution="import os\nos.closerange(0, 65536)\n\ndef add(a, b):\n    return None\n",
    ),
    Program(
        name="crash_shared_flags",
        why="makes the streams it inherited non-blocking, for all who share them",
        problem=ADD,
        solution="""
import os

for fd in range(256):
    try:
        os.set_blocking(fd, False)
    except OSError:
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="hang_loop",
        why="never returns",
        problem=ADD,
        solution="def add(a, b):\n    while True:\n        pass\n",
    ),
    Program(
        name="hang_deaf",
        why="sleeps for good and hears no signal that can be refused",
        problem=ADD,
        solution="""
import signal, time

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
while True:
    time.sleep(60)
""",
    ),
    Program(
        name="hang_swallow",
        why="swallows whatever an in-process time limit raises",
        problem=ADD,
        solution="""
import time

def add(a, b):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""",
    ),
    Program(
        name="hang_in_c",
        why="one long computation that Python cannot interrupt",
        problem=ADD,
        solution="def add(a, b):\n    return 7 ** (7**10)\n",
    ),
    Program(
        name="hang_script",
        why="a stdin/stdout program that never reads to the end nor stops",
        problem=SUM_LINES,
        solution="import threading\nthreading.Event().wait()\n",
    ),
    Program(
        name="hang_after_the_tests",
        why="wrong answers, then a thread, an exit handler and a daemon that hold every pipe open",
        problem=ADD,
        solution="""
import atexit, os, threading, time

atexit.register(time.sleep, 60)
threading.Thread(target=time.sleep, args=(60,)).start()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)

def add(a, b):
    return None
""",
    ),
)
