"""What both sides agree on about values that are not data: names that mean the same thing on both."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from typing import Any

OBJECT_LEVEL, OPERATOR_LEVEL = 1, 2
"""How far the tests relied on the candidate's own objects: 0 not at all, only on data and functions; 1 on
their methods and attributes; 2 on their operators, by which a candidate decides comparisons itself."""

SHARED_MODULES = frozenset(
    "abc bisect builtins cmath collections collections.abc contextlib copy dataclasses datetime decimal "
    "enum fractions functools heapq itertools json json.decoder math numbers operator re statistics "
    "string types typing".split()
)
"""Their classes and functions cross by name, and each side uses its own."""

PASSIVE = frozenset(
    "__call__ __len__ __iter__ __next__ __getitem__ __setitem__ __delitem__ __enter__ __bool__ "
    "__hash__ __str__ __repr__ __format__ __int__ __float__ __complex__ __index__ __abs__ __neg__ __pos__ "
    "__invert__ __round__ __trunc__ __floor__ __ceil__ __reversed__ __length_hint__ __bytes__ __fspath__ "
    "__aiter__ __anext__ __aenter__ __await__ __missing__".split()
)
OPERATORS = frozenset(
    f"__{name}__"
    for op in "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or".split()
    for name in (op, f"r{op}", f"i{op}")
) | frozenset("__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __contains__ __exit__ __aexit__".split())
"""By these the candidate decides what a comparison says, or whether a failed assertion is heard of."""
FORWARDED = PASSIVE | OPERATORS


def shared_name(value: Any) -> tuple[str, str] | None:
    """Module and name of a standard class or function that the other side has as well."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "_name", None)
    if type(value).__module__ == "typing":
        module = "typing"
    if isinstance(value, types.BuiltinMethodType) and isinstance(value.__self__, type):
        return None  # a class method, such as dict.fromkeys of a subclass
    if type(module) is str and type(name) is str and resolve(module, name) is value:
        return module, name
    return None


def resolve(module: str, name: str) -> Any:
    """This side's object of that name, or None."""
    if module in SHARED_MODULES or _is_exception_of_stdlib(module, name):
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        return found
    return None


def _is_exception_of_stdlib(module: str, name: str) -> bool:
    if module.partition(".")[0] not in EXCEPTION_MODULES:
        return False
    with contextlib.suppress(ImportError):
        found = getattr(importlib.import_module(module), name, None)
        return isinstance(found, type) and issubclass(found, Exception)
    return False


EXCEPTION_MODULES = frozenset(
    "argparse asyncio binascii concurrent configparser csv getopt graphlib lzma multiprocessing pickle _pickle "
    "queue _queue re sqlite3 ssl statistics struct subprocess shutil tarfile tomllib urllib xml zipfile zlib "
    "zoneinfo json socket http email copy uuid".split()
)
"""Modules of the standard library whose exceptions cross by name; importing them does nothing else."""
