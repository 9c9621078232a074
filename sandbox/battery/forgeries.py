"""Programs that write the report of a pass themselves."""

from sandbox.battery.program import ADD, SCALE, SUM_LINES, Program

ATTACKS = (
    Program(
        name="forge_stdout",
        why="prints what a passing session prints, and verdicts in several formats",
        problem=ADD,
        solution="""
import os
print("2 passed in 0.01s", '{"outcome": "passed", "passed": true}', "1.0", "OK", sep="\\n", flush=True)
os._exit(0)
""",
    ),
    Program(
        name="forge_records",
        why="writes records of its own on every descriptor, then ends",
        problem=ADD,
        solution="""
import json, os

ids = ["test_small", "test_large"]
records = [{"collected": ids}]
records += [{"test": [name, "passed", ""], "memory": False} for name in ids]
records += [{"done": True}]
text = "".join(json.dumps(record) + "\\n" for record in records).encode()
for fd in range(256):
    try:
        os.write(fd, text)
    except OSError:
        pass
os._exit(0)
""",
    ),
    Program(
        name="forge_first",
        why="a passing record for each test before its real one, which follows",
        problem=ADD,
        solution="""
import json, os

for name in ("test_small", "test_large"):
    record = json.dumps({"test": [name, "passed", ""], "memory": False}) + "\\n"
    for fd in range(3, 64):
        try:
            os.write(fd, record.encode())
        except OSError:
            pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="forge_last",
        why="forged records and the end of the session, in the middle of a parametrized test",
        problem=SCALE,
        solution="""
import json, os

def scale(n, factor):
    ids = ["test_scale[1-3]", "test_scale[2-6]", "test_scale[-1--3]"]
    records = [{"test": [name, "passed", ""], "memory": False} for name in ids] + [{"done": True}]
    text = "".join(json.dumps(record) + "\\n" for record in records).encode()
    for fd in range(3, 64):
        try:
            os.write(fd, text)
        except OSError:
            pass
    return None
""",
    ),
    Program(
        name="forge_and_close",
        why="forges, then puts /dev/null in the place of every descriptor so that the truth is lost",
        problem=ADD,
        solution="""
import json, os

ids = ["test_small", "test_large"]
records = [{"collected": ids}]
records += [{"test": [name, "passed", ""], "memory": False} for name in ids] + [{"done": True}]
text = "".join(json.dumps(record) + "\\n" for record in records).encode()
null = os.open(os.devnull, os.O_RDWR)
for fd in range(3, 256):
    try:
        os.write(fd, text)
        os.dup2(null, fd)
    except OSError:
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="forge_frames",
        why="a whole answer, framed as the worker frames it, on every descriptor",
        problem=ADD,
        solution="""
import json, os

ids = ["test_small", "test_large"]
reports = [{"id": name, "outcome": "passed", "message": ""} for name in ids]
answer = {"status": "finished", "collected": ids, "reports": reports, "detail": "", "wall_s": 0.1}
body = json.dumps(answer).encode()
for fd in range(256):
    try:
        os.write(fd, len(body).to_bytes(4, "big") + body)
    except OSError:
        pass
os._exit(0)
""",
    ),
    Program(
        name="forge_in_the_parents_files",
        why="writes an answer into descriptors of the process above, through /proc",
        problem=ADD,
        solution="""
import glob, json, os

ids = ["test_small", "test_large"]
reports = [{"id": name, "outcome": "passed", "message": ""} for name in ids]
answer = {"status": "finished", "collected": ids, "reports": reports, "detail": "", "wall_s": 0.1}
body = json.dumps(answer).encode()
for path in glob.glob(f"/proc/{os.getppid()}/fd/*") + glob.glob("/proc/1/fd/*"):
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(len(body).to_bytes(4, "big") + body)
    except OSError:
        pass

def add(a, b):
    return None
""",
    ),
    Program(
        name="forge_from_a_child",
        why="a child in a session of its own reports later, when the parent is long dead",
        problem=ADD,
        solution="""
import json, os, time

if os.fork() == 0:
    os.setsid()
    time.sleep(0.2)
    ids = ["test_small", "test_large"]
    records = [{"collected": ids}]
    records += [{"test": [name, "passed", ""], "memory": False} for name in ids] + [{"done": True}]
    text = "".join(json.dumps(record) + "\\n" for record in records).encode()
    for fd in range(3, 64):
        try:
            os.write(fd, text)
        except OSError:
            pass
    os._exit(0)
os._exit(0)
""",
    ),
    Program(
        name="forge_script_outputs",
        why="a stdin/stdout program that writes answers for every case on all descriptors",
        problem=SUM_LINES,
        solution="""
import json, os

answer = {"status": "finished", "collected": ["case-0", "case-1"], "outputs": ["3\\n", "7\\n"]}
answer["reports"] = [{"id": name, "outcome": "passed", "message": ""} for name in answer["collected"]]
body = json.dumps(answer).encode()
for fd in range(3, 256):
    try:
        os.write(fd, len(body).to_bytes(4, "big") + body)
    except OSError:
        pass
os._exit(0)
""",
    ),
)
