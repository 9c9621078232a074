"""What stands on the tests' side for functions, iterators, classes and objects of the candidate's.

What is done to one of these happens over there: each holds a number and the link to ask by.
"""

from __future__ import annotations

import collections
import sys
from typing import TYPE_CHECKING, Any

from sandbox.inside import crossing

if TYPE_CHECKING:
    from sandbox.inside.link import Link

BUILTIN = {k.__name__: k for k in (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict)}  # fmt: skip


class Handle:
    """Names an object of the candidate's in a call."""

    def __init__(self, number: int) -> None:
        self._srs_number = number


def remote_function(link: Link, number: int, name: str, doc: str | None) -> Any:
    handle = Handle(number)

    def function(*args: Any, **kwargs: Any) -> Any:
        return link.do("call", handle, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = "solution"
    function._srs_number = number  # type: ignore[attr-defined]
    return function


class RemoteIterator:
    """An iterator of the candidate's."""

    def __init__(self, link: Link, number: int) -> None:
        self._srs_link, self._srs_number = link, number

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._srs_link.do("next", self)


class RemoteIterable:
    """What the candidate's own iterable gives, as often as it is asked."""

    def __init__(self, link: Link, number: int) -> None:
        self._srs_link, self._srs_number = link, number

    def __iter__(self) -> Any:
        return self._srs_link.do("operator", "__iter__", self)


def remote_generator(link: Link, number: int) -> Any:
    handle = Handle(number)

    def items() -> Any:
        step: tuple[Any, ...] = ("next", handle)
        while True:
            try:
                value = link.do(*step)
            except StopIteration as e:
                return e.value
            try:
                sent = yield value
                step = ("next", handle) if sent is None else ("send", handle, sent)
            except GeneratorExit:
                if not link.over:
                    link.do("close", handle)
                raise
            except Exception as e:
                step = ("throw", handle, e)

    return items()


async def remote_coroutine(link: Link, number: int) -> Any:
    return link.do("await", Handle(number))


class RemoteClass(type):
    """A class of the candidate's: its instances are made and its attributes read over there."""

    _srs_link: Link
    _srs_number: int

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], ours: bool = False
    ) -> Any:
        if not ours:
            why = f"{name}: a class of the tests can't be made from one of the solution"
            for base in bases:
                if isinstance(base, RemoteClass):
                    base._srs_link.refuse(why)
            raise TypeError(why)
        return super().__new__(cls, name, bases, namespace)

    def __init__(cls, *definition: Any, ours: bool = False) -> None:  # noqa: ARG002 -- for __new__
        super().__init__(*definition)

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        made = cls._srs_link.do("call", cls, *args, **kwargs)
        if isinstance(made, Remote):
            cls._srs_link.use(crossing.OBJECT_LEVEL, f"an instance of {cls.__name__}")
        return made

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        cls._srs_link.use(crossing.OBJECT_LEVEL, f"the class {cls.__name__}")
        return cls._srs_link.do("get", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name.startswith("_srs_") or name.startswith("__"):
            super().__setattr__(name, value)
        else:
            cls._srs_link.use(crossing.OBJECT_LEVEL, f"the class {cls.__name__}")
            cls._srs_link.do("set", cls, name, value)

    def _operate(cls, name: str, *args: Any) -> Any:
        level = crossing.OPERATOR_LEVEL if name in crossing.OPERATORS else crossing.OBJECT_LEVEL
        cls._srs_link.use(level, f"the class {cls.__name__}")
        return cls._srs_link.do("operator", name, cls, *args)

    def __iter__(cls) -> Any:
        return cls._operate("__iter__")

    def __len__(cls) -> Any:
        return cls._operate("__len__")

    def __getitem__(cls, key: Any) -> Any:
        return cls._operate("__getitem__", key)

    def __contains__(cls, key: Any) -> Any:
        return cls._operate("__contains__", key)

    def __bool__(cls) -> bool:
        return True


class RemoteError(RemoteClass):
    """An exception class of the candidate's. Its instances are real exceptions here, made of data."""


class Remote:
    """An object of the candidate's class."""

    _srs_link: Link
    _srs_number: int

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_srs_"):
            raise AttributeError(name)
        self._srs_link.use(crossing.OBJECT_LEVEL, f"an object of class {type(self).__name__}")
        return self._srs_link.do("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._srs_link.use(crossing.OBJECT_LEVEL, f"an object of class {type(self).__name__}")
        self._srs_link.do("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._srs_link.use(crossing.OBJECT_LEVEL, f"an object of class {type(self).__name__}")
        self._srs_link.do("delete", self, name)

    def __dir__(self) -> Any:
        return self._srs_link.do("list", self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an object of the solution can't be copied or pickled by the tests")


def new_class(link: Link, number: int, name: str, bases: tuple[type, ...]) -> Any:
    namespace = {"_srs_link": link, "_srs_number": number, "__module__": "solution"}
    return RemoteClass(name, bases or (Remote,), namespace, ours=True)


def new_error(link: Link, number: int, name: str, bases: tuple[type, ...]) -> Any:
    def text(self: Any) -> str:
        return str(self.__dict__.get("_srs_text", ""))

    namespace = {
        "_srs_link": link,
        "_srs_number": number,
        "__module__": "solution",
        "__str__": text,
    }
    return RemoteError(name, bases, namespace, ours=True)


def is_builtin_error(name: str) -> bool:
    found = getattr(sys.modules["builtins"], name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def add_special(kind: Any, names: list[str], data: str) -> None:
    """Give the class the special methods that its original has: Python looks for them only there."""
    for name in names:
        if name in crossing.FORWARDED and name not in vars(kind):
            type.__setattr__(kind, name, _special(name))
    if data and "_srs_data" not in vars(kind):
        type.__setattr__(kind, "_srs_data", data)
        base = BUILTIN[data]
        for name in crossing.FORWARDED | {"__eq__", "__hash__"}:
            if name not in vars(kind) and getattr(base, name, None) is not None:
                type.__setattr__(kind, name, _on_data(name))


def _special(name: str) -> Any:
    level = crossing.OPERATOR_LEVEL if name in crossing.OPERATORS else crossing.OBJECT_LEVEL

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if level > self._srs_link.allowed and name in ("__eq__", "__ne__"):
            return NotImplemented  # then two objects are equal if they are the same
        self._srs_link.use(level, f"an object of class {type(self).__name__}, used by {name}")
        return self._srs_link.do("operator", name, self, *args, **kwargs)

    method.__name__ = name
    return method


def _on_data(name: str) -> Any:
    """The builtin type's own method on the object's data."""

    def method(self: Any, *args: Any) -> Any:
        value = self._srs_link.do("data", self)
        plain = [self._srs_link.do("data", a) if hasattr(type(a), "_srs_data") else a for a in args]
        return getattr(type(value), name)(value, *plain)

    method.__name__ = name
    return method
