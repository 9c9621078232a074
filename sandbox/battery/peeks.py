"""Programs that take the answers from the tests: from files, frames, objects, memory."""

from sandbox.battery.program import ADD, FACTORIAL, ORDERED, SCALE, SUM_LINES, Program

ATTACKS = (
    Program(
        name="peek_test_file",
        why="reads the assertions in the test file, wherever it is on the path",
        problem=ADD,
        solution="""
import ast, glob, os, sys

known = {}
places = {os.getcwd(), os.path.dirname(os.path.abspath(__file__)), *sys.path}
for path in [p for d in places for p in glob.glob(os.path.join(d or ".", "test_solution.py"))]:
    try:
        tree = ast.parse(open(path).read())
    except (OSError, SyntaxError):
        continue
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Call):
            try:
                known[tuple(map(ast.literal_eval, node.left.args))] = ast.literal_eval(node.comparators[0])
            except ValueError:
                known[10**12, 7] = ast.literal_eval(node.comparators[0])

def add(a, b):
    return known.get((a, b))
""",
    ),
    Program(
        name="peek_source_of_the_importer",
        why="finds the test module's source through inspect and linecache",
        problem=ORDERED,
        solution="""
import ast, inspect, sys

def ordered(items):
    for module in [m for name, m in list(sys.modules.items()) if name.startswith("test_")]:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Compare) and isinstance(node.comparators[0], ast.List):
                value = ast.literal_eval(node.comparators[0])
                if len(value) == len(items) and set(value) == set(items) and value != items:
                    return value
    return []
""",
    ),
    Program(
        name="peek_locals",
        why="reads the caller's local variable `expected`",
        problem=FACTORIAL,
        solution="""
import sys

def factorial(n):
    return sys._getframe(1).f_locals.get("expected", -1)
""",
    ),
    Program(
        name="peek_any_frame",
        why="looks for `expected` in the frames of all threads, however many stand between",
        problem=FACTORIAL,
        solution="""
import sys

def factorial(n):
    for frame in sys._current_frames().values():
        while frame:
            if "expected" in frame.f_locals:
                return frame.f_locals["expected"]
            frame = frame.f_back
    return -1
""",
    ),
    Program(
        name="peek_constants",
        why="the answer is the constant after the arguments in the caller's byte code",
        problem=ADD,
        solution="""
import dis, sys

def add(a, b):
    frame = sys._getframe(1)
    for step in dis.get_instructions(frame.f_code):
        if step.offset > frame.f_lasti and step.opname == "LOAD_CONST" and type(step.argval) is int:
            return step.argval
    return None
""",
    ),
    Program(
        name="peek_parameters",
        why="finds pytest's table of parameters among the living objects",
        problem=SCALE,
        solution="""
import gc

def scale(n, factor):
    for thing in gc.get_objects():
        if type(thing).__name__.startswith("CallSpec") and thing.params["n"] == n:
            return thing.params["expected"]
    return None
""",
    ),
    Program(
        name="peek_memory",
        why="searches its own memory for the test's text, left there by the process it was forked from",
        problem=ADD,
        solution="""
import re

wanted = re.compile(b"assert add" + rb"\\(([-\\d*]+), (\\d+)\\) == (\\d+)")
known = {}
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        span, mode = line.split()[:2]
        start, end = (int(n, 16) for n in span.split("-"))
        if mode.startswith("rw") and end - start < 1 << 27:
            try:
                memory.seek(start)
                text = memory.read(end - start)
            except (OSError, OverflowError, ValueError):
                continue
            for a, b, c in wanted.findall(text):
                known[eval(a), int(b)] = int(c)

def add(a, b):
    return known.get((a, b))
""",
    ),
    Program(
        name="peek_expected_outputs",
        why="a stdin/stdout program that looks for the expected outputs in files and command lines",
        problem=SUM_LINES,
        solution="""
import glob, os, re

case = input()
found = None
for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ") + glob.glob("../*") + glob.glob("*"):
    try:
        text = open(path, "rb").read(1 << 20).decode("utf-8", "replace")
    except OSError:
        continue
    match = re.search(r'"stdout": \\["(-?\\d+)\\\\\\\\n", "(-?\\d+)', text)
    if match:
        found = match[1 if case == "1 2" else 2]
print(found)
""",
    ),
)
