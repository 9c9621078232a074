"""Another value than the expected one: near it, and beyond any tolerance in force."""

from __future__ import annotations

import ast
import dataclasses
import math
import random
import re
from collections.abc import Sequence

from evaluator.canaries.files import called_name

SHOWN_CHARS = 40
STRANGE_CHARS = (8, 12)


COLLECTIONS = {"set", "frozenset", "list", "tuple", "sorted", "deque", "Counter"}


CONSTRUCTORS = COLLECTIONS | {
    "dict", "str", "bytes", "bytearray", "int", "complex", "OrderedDict", "defaultdict", "array",
    "asarray", "DataFrame", "Series", "Index", "Timestamp", "Timedelta", "Decimal", "Fraction",
    "datetime", "date", "time", "timedelta",
}  # fmt: skip


EMPTY_CALLS = {
    "set": ("{0}", "{None}"), "list": ("[0]", "[None]"), "tuple": ("(0,)", "(None,)"),
    "dict": ("{0: 0}", "{None: None}"), "str": ("'_'", "' '"),
}  # fmt: skip


WRAPPERS = {
    "number": ("({} + 1)", "({} - 1)"),
    "bool": ("(not {})", "({}, None)"),
    "str": ("({} + '_')", "('_' + {})"),
    "bytes": ("({} + b'_')", "(b'_' + {})"),
    "list": ("[*{}, None]", "[None, *{}]"),
    "tuple": ("(*{}, None)", "(None, *{})"),
    "set": ("{{*{}, None}}", "({}, None)"),
    "dict": ("{{**{}, None: None}}", "({}, None)"),
    "unknown": ("({}, None)",),
}


KIND_OF_CALL = {
    "len": "number", "sum": "number", "abs": "number", "round": "number", "int": "number",
    "ord": "number", "count": "number", "sqrt": "number", "factorial": "number", "float": "number",
    "fabs": "number", "pow": "number", "gcd": "number", "lcm": "number", "comb": "number",
    "sorted": "list", "list": "list", "split": "list", "tuple": "tuple", "set": "set",
    "dict": "dict", "str": "str", "repr": "str", "join": "str", "upper": "str", "lower": "str",
    "replace": "str", "strip": "str", "format": "str", "chr": "str", "hex": "str", "bin": "str",
    "bytes": "bytes", "bool": "bool", "isinstance": "bool", "all": "bool", "any": "bool",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far from the expected value a result may be, as the assertion says."""

    absolute: float = 0.0
    relative: float = 0.0

    def step(self, value: float) -> float:
        """A distance that is clearly more than this tolerance and than the usual ones."""
        size = abs(value)
        return max(0.01 * size, 0.001, 3 * self.absolute, 3 * self.relative * size)


EXACT = Tolerance()


def is_scalar(node: ast.AST) -> bool:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() | complex())):
            return True
        case ast.Constant(value=value):
            return value is not Ellipsis
        case _:
            return False


def other_values(node: ast.expr, tolerance: Tolerance, identity: bool) -> tuple[str, str]:
    """Two literals near a scalar or empty literal: above and below, flipped, with a character changed."""
    match node:
        case ast.List():
            return "[0]", "[None]"
        case ast.Tuple():
            return "(0,)", "(None,)"
        case ast.Dict():
            return "{0: 0}", "{None: None}"
        case _:
            value = ast.literal_eval(node)
    match value:
        case bool():
            return repr(not value), "None"
        case None:
            return ("False", "True") if identity else ("0", "False")
        case int():
            exact = tolerance == EXACT
            by = 1 if exact else max(1, math.ceil(tolerance.step(value)))
            return repr(value + by), repr(value - by)
        case float():
            if not math.isfinite(value):
                return "0.0", repr(-value) if value == value else "1.0"
            step = tolerance.step(value)
            return rounded(value + step), rounded(value - step)
        case str():
            changed = value[:-1] + other_character(value[-1]) if value else " "
            return repr(changed), repr(value + "_")
        case bytes():
            other = value[:-1] + bytes([value[-1] ^ 1]) if value else b" "
            return repr(other), repr(value + b"_")
        case _:
            return repr(value + 1), repr(value - 1)


def rounded(value: float) -> str:
    return repr(float(f"{value:.12g}")) if math.isfinite(value) else "0.0"


def other_character(c: str) -> str:
    if c.isascii() and c.isalnum():
        return {"9": "8", "z": "y", "Z": "Y"}.get(c) or chr(ord(c) + 1)
    return "-" if c == "_" else "_"


def strange(text: str, file: bytes) -> str:
    """``text`` with letters after it, or digits after digits, that no answer holds.

    Of the file's own letters, in an order that follows from the file: nothing in them shows who doesn't
    know it that the text isn't the one that the test looks for.
    """
    digits = text.isdecimal()
    alphabet = "0123456789" if digits else "".join(re.findall("[a-z]", file.decode().lower()))
    stream = random.Random(file)
    added = "".join(stream.choices(alphabet, k=stream.randint(*STRANGE_CHARS)))
    return text + (added.upper() if text.isupper() else added)


def leaves_of(node: ast.expr) -> list[ast.expr]:
    """The scalars and empty containers that a literal, or a call of a known constructor, is made of."""
    parts: Sequence[ast.expr | None]
    match node:
        case _ if is_scalar(node):
            return [node]
        case ast.List(elts=[]) | ast.Tuple(elts=[]) | ast.Dict(keys=[]):
            return [node]
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            parts = elts
        case ast.Dict(keys=keys, values=values):
            found = [leaf for value in values for leaf in leaves_of(value)]
            return found or [leaf for key in keys if key is not None for leaf in leaves_of(key)]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Call(args=args) if called_name(node) in CONSTRUCTORS:
            parts = args
        case _:
            return []
    return [leaf for part in parts if part is not None for leaf in leaves_of(part)]


def resized(node: ast.expr) -> list[tuple[str, str]]:
    """A container literal with one element appended, and with its last removed; and that in words."""
    longer: ast.expr
    shorter: ast.expr
    match node:
        case ast.Dict(keys=[*_, ast.expr() as key] as keys, values=values):
            new = new_element(key, [k for k in keys if k is not None])
            longer = ast.Dict(keys=[*keys, new], values=[*values, values[-1]])
            shorter = ast.Dict(keys=keys[:-1], values=values[:-1])
            added, removed = f"key {ast.unparse(new)}", f"key {ast.unparse(key)}"
        case ast.List(elts=[*_, last]) | ast.Tuple(elts=[*_, last]) | ast.Set(elts=[*_, last]):
            unique = isinstance(node, ast.Set)
            new = new_element(last, node.elts) if unique or is_scalar(last) else last
            longer = type(node)(elts=[*node.elts, new])
            shorter = type(node)(elts=node.elts[:-1])
            added, removed = ast.unparse(new), ast.unparse(last)
        case _:
            return []
    return [
        (ast.unparse(longer), f"{shortened(added)} was appended"),
        (ast.unparse(shorter), f"{shortened(removed)} was removed"),
    ]


def new_element(last: ast.expr, present: Sequence[ast.expr]) -> ast.expr:
    texts: Sequence[str] = other_values(last, EXACT, False) if is_scalar(last) else ()
    taken = [ast.literal_eval(p) for p in present if is_scalar(p)]
    numbers = map(str, range(2, len(taken) + 3))  # one more than can be taken
    text = next(t for t in [*texts, *numbers] if ast.literal_eval(t) not in taken)
    return ast.parse(text, mode="eval").body


def shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


def kind_of(node: ast.expr) -> str:
    """The type of an expression's value as far as its form tells it: a key of WRAPPERS."""
    match node:
        case ast.Constant(value=bool()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return "bool"
        case ast.Constant(value=int() | float() | complex()) | ast.UnaryOp():
            return "number"
        case ast.Constant(value=str()) | ast.JoinedStr():
            return "str"
        case ast.Constant(value=bytes()):
            return "bytes"
        case ast.List() | ast.ListComp():
            return "list"
        case ast.Tuple():
            return "tuple"
        case ast.Set() | ast.SetComp():
            return "set"
        case ast.Dict() | ast.DictComp():
            return "dict"
        case ast.Call():
            return KIND_OF_CALL.get(called_name(node), "unknown")
        case ast.Attribute(value=ast.Name(id="math" | "np" | "cmath"), attr="pi" | "e" | "tau"):
            return "number"
        case ast.BinOp(left=left, op=ast.Mod()) if kind_of(left) in ("str", "bytes"):
            return kind_of(left)
        case ast.BinOp(left=left, op=op, right=right):
            kinds = {kind_of(left), kind_of(right)}
            if isinstance(op, ast.Sub | ast.Div | ast.FloorDiv | ast.Pow | ast.Mod):
                return "number" if "number" in kinds else "unknown"
            known = kinds - {"unknown", "number"}
            if len(known) == 1:
                return known.pop()
            if kinds == {"number"} or (isinstance(op, ast.Add) and "number" in kinds):
                return "number"
            return "unknown"
        case _:
            return "unknown"
