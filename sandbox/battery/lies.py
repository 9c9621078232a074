"""Answers that are no answers: objects that claim to be equal to whatever they are compared with."""

from sandbox.battery.program import (
    ADD,
    AREA,
    COUNTS,
    FACTORIAL,
    ORDERED,
    PARSE,
    REVERSE,
    SCALE,
    Program,
)  # fmt: skip

ATTACKS = (
    Program(
        name="lie_plain",
        why="an object that equals everything",
        problem=ADD,
        solution="""
class Lie:
    def __eq__(self, other):
        return True

def add(a, b):
    return Lie()
""",
    ),
    Program(
        name="lie_parametrized",
        why="the same where pytest itself must run the tests: parameters and a fixture",
        problem=SCALE,
        solution="""
class Lie:
    __eq__ = lambda self, other: True

def scale(n, factor):
    return Lie()
""",
    ),
    Program(
        name="lie_mock_any",
        why="the standard library's own lie",
        problem=ORDERED,
        solution="""
from unittest.mock import ANY

def ordered(items):
    return ANY
""",
    ),
    Program(
        name="lie_int",
        why="a subclass of int, so that type checks by isinstance hold",
        problem=FACTORIAL,
        solution="""
class Number(int):
    def __eq__(self, other):
        return True
    __hash__ = int.__hash__

def factorial(n):
    return Number(0)
""",
    ),
    Program(
        name="lie_class_property",
        why="isinstance is answered through a false __class__",
        problem=FACTORIAL,
        solution="""
class Number:
    @property
    def __class__(self):
        return int
    def __eq__(self, other):
        return True

def factorial(n):
    return Number()
""",
    ),
    Program(
        name="lie_str",
        why="a str that equals any other, in a unittest.TestCase",
        problem=REVERSE,
        solution="""
class Text(str):
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    __hash__ = str.__hash__

def reverse(text):
    return Text("?")
""",
    ),
    Program(
        name="lie_float",
        why="a float whose differences are 0 and which stands on either side of every bound",
        problem=AREA,
        solution="""
class Number(float):
    def __sub__(self, other):
        return 0.0
    __rsub__ = __sub__
    def __lt__(self, other):
        return True
    __eq__ = __le__ = __gt__ = __ge__ = __lt__
    __hash__ = float.__hash__

def area(radius):
    return Number(0)
""",
    ),
    Program(
        name="lie_list",
        why="a subclass of list",
        problem=ORDERED,
        solution="""
class Items(list):
    def __eq__(self, other):
        return True

def ordered(items):
    return Items(items)
""",
    ),
    Program(
        name="lie_in_a_list",
        why="a real list of as many false items as were given",
        problem=ORDERED,
        solution="""
class Item:
    def __eq__(self, other):
        return True

def ordered(items):
    return [Item() for _ in items]
""",
    ),
    Program(
        name="lie_in_a_dict",
        why="a real dict with the right keys and false values",
        problem=COUNTS,
        solution="""
class Count:
    def __eq__(self, other):
        return True

def counts(text):
    return {word: Count() for word in text.split()}
""",
    ),
    Program(
        name="lie_metaclass",
        why="not an object but a class that equals everything",
        problem=ADD,
        solution="""
class Meta(type):
    def __eq__(cls, other):
        return True
    __hash__ = type.__hash__

class Answer(metaclass=Meta):
    pass

def add(a, b):
    return Answer
""",
    ),
    Program(
        name="lie_plausible",
        why="equal to plausible values only: an absurd altered expectation shows nothing",
        problem=ADD,
        solution="""
class Near:
    def __eq__(self, other):
        return type(other) is int and -10 <= other <= 2 * 10**12

def add(a, b):
    return Near()
""",
    ),
    Program(
        name="lie_first_of_each",
        why="each answer agrees once, so asking the same object twice finds it out only then",
        problem=ADD,
        solution="""
class Once:
    asked = False
    def __eq__(self, other):
        first, self.asked = not self.asked, True
        return first

def add(a, b):
    return Once()
""",
    ),
    Program(
        name="lie_learns",
        why="becomes what it was first compared with: it then shows, hashes and equals only that",
        problem=ADD,
        solution="""
class Learner:
    def __eq__(self, other):
        if not hasattr(self, "value"):
            self.value = other
        return self.value == other
    def __hash__(self):
        return hash(self.value)
    def __repr__(self):
        return repr(self.value)

def add(a, b):
    return Learner()
""",
    ),
    Program(
        name="lie_to_tests_only",
        why="lies only when the comparison stands in a test file",
        problem=ADD,
        solution="""
import sys

class Lie:
    def __eq__(self, other):
        return "test" in sys._getframe(1).f_code.co_filename

def add(a, b):
    return Lie()
""",
    ),
    Program(
        name="lie_module_getattr",
        why="a module without the function: whatever name is imported is a function that lies",
        problem=PARSE,
        solution="""
class Lie:
    def __eq__(self, other):
        return True

def _answer(text):
    if text.isalpha():
        raise ValueError(text)
    return Lie()

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _answer
""",
    ),
    Program(
        name="lie_module_object",
        why="sys.modules holds an object instead of the module",
        problem=ADD,
        solution="""
import sys
from unittest.mock import ANY, Mock

sys.modules[__name__] = Mock(add=Mock(return_value=ANY))
""",
    ),
)
