"""The tests' side of a split run: a module ``solution`` whose functions run in the candidate's process.

Values that come back are rebuilt here from data alone (`sandbox.inside.codec`). An object of the
candidate's own class is a `Remote`: what is done to it happens over there, and how far the tests rely on
that is counted, and limited to what they did with the reference (`crossing.OBJECT_LEVEL` and up).
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from sandbox.inside import crossing, frames
from sandbox.inside.codec import (
    BadMessage,
    Decoder,
    Encoder,
    Node,
    NotData,
    namedtuple_class,
)

OWN_ERROR = ["", ""]
"""In place of a module and a name: the reference's is an exception class of its own."""
BUILTIN = {k.__name__: k for k in (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict)}  # fmt: skip


class Refused(BaseException):
    """What the tests do can't be done across the link. No test may take it for an answer of the solution."""


class Link:
    """The calls to one candidate. ``allowed``: the highest level that may be relied on.

    ``bound``: names in the solution that are standard modules, classes or functions in the reference's:
    they are taken from this side. ``gone`` is told once why no more answers will come, and doesn't return.
    """

    def __init__(
        self,
        fd: int,
        *,
        allowed: int,
        bound: dict[str, list[str]] | None,
        gone: Callable[[str], NoReturn],
    ) -> None:
        self.fd = fd
        self.allowed = allowed
        self.bound = bound
        self.gone = gone
        self.level = 0
        self.refused = ""
        self.over = False
        self.shared: dict[str, list[str]] = {}
        self.busy = threading.RLock()
        self.owned: list[Any] = []
        self.made: dict[tuple[str, int], Any] = {}

    def do(self, operation: str, /, *args: Any, **kwargs: Any) -> Any:
        """Ask for one operation; returns or raises what the candidate did. Raises Refused."""
        with self.busy:
            if self.over:  # an object of an earlier run's is being tidied up
                raise RuntimeError("that run is over")
            encoder = Encoder(self._to_candidate)
            try:
                message = encoder.message([*args, *kwargs.values()])
            except NotData as e:
                self.refuse(str(e))
            try:
                frames.send(self.fd, {"do": operation, "names": list(kwargs), **message})
                reply = self._next()
                while "ask" in reply:
                    frames.send(self.fd, self._answer(reply))
                    reply = self._next()
                (value,) = Decoder(self._from_candidate, encoder.objects).roots(reply)
                raised = reply["how"] == "raised"
                for stream, text in zip(
                    (sys.stdout, sys.stderr), reply.get("printed", ()), strict=False
                ):
                    stream.write(text)
            except (EOFError, OSError):
                self.gone("")
            except (
                BadMessage,
                LookupError,
                TypeError,
                ValueError,
                RecursionError,
                MemoryError,
            ) as e:
                self.gone(f"it sent no usable answer ({type(e).__name__}: {e})")
        if raised:
            if not isinstance(value, BaseException):
                self.gone("it raised what is no exception")
            raise value
        return value

    def use(self, level: int, what: str) -> None:
        """Raises Refused when the tests rely on more than they did with the reference."""
        if level > self.allowed:
            self.refuse(f"the solution gave {what}, where the reference gives plain data")
        self.level = max(self.level, level)

    def refuse(self, why: str) -> NoReturn:
        """Raises Refused; the run can't pass any more, whatever the tests make of that."""
        self.refused = self.refused or why
        raise Refused(why)

    def _next(self) -> dict[str, Any]:
        reply = frames.receive(self.fd, frames.FRAME_BYTES_MAX)
        if type(reply) is not dict:
            raise BadMessage("not an object")
        return reply

    def _answer(self, ask: dict[str, Any]) -> dict[str, Any]:
        """Do what the candidate asks of a callback or an iterator of the tests."""
        decoder = Decoder(self._from_candidate)
        roots = decoder.roots(ask)
        cut = len(roots) - len(ask["names"])
        target = self._target(ask["number"])
        try:
            if ask["ask"] == "next":
                value: Any = [*_one_of(target)]
            else:
                value = target(*roots[:cut], **dict(zip(ask["names"], roots[cut:], strict=True)))
            message = Encoder(self._to_candidate, decoder.objects).message([value])
            how = "returned"
        except Exception as e:
            kind = type(e)
            shared = crossing.shared_name(kind) or ("builtins", "RuntimeError")
            description = (
                *shared,
                tuple(a if type(a) in (str, int, float) else repr(a) for a in e.args),
            )
            message, how = Encoder(self._to_candidate).message([description]), "raised"
        return {**message, "how": how}

    # Out

    def _to_candidate(self, value: Any) -> Node:
        number = getattr(value, "_srs_number", None)
        if type(number) is int:
            return ["yours", number]
        shared = crossing.shared_name(value)
        if shared is not None:
            return ["global", *shared]
        if isinstance(value, BaseException) and (shared := crossing.shared_name(type(value))):
            arguments = Encoder(_no_objects_out).message([value.args])
            return ["error", self._own(value), *shared, json.dumps(arguments)]
        if isinstance(value, types.TracebackType):
            return ["global", "builtins", "None"]
        if isinstance(value, Iterator) and not isinstance(value, type):
            return ["iterator", self._own(value)]
        if callable(value) and not isinstance(value, type):
            return ["callback", self._own(value), str(getattr(value, "__name__", "callback"))]
        raise NotData(f"{type(value).__name__} of the tests can't be given to the solution")

    def _target(self, number: int) -> Any:
        if not 0 <= number < len(self.owned):
            raise BadMessage("nothing has that number")
        return self.owned[number]

    def _own(self, value: Any) -> int:
        self.owned.append(value)
        return len(self.owned) - 1

    # In

    def _from_candidate(self, node: Node) -> Any:
        match node:
            case ["yours", int(number)]:
                return self._target(number)
            case ["global", str(module), str(name)]:
                found = crossing.resolve(module, name)
                if found is None:
                    raise BadMessage(f"{module}.{name} is not shared")
                return found
            case ["module", str(name)]:
                return Unusable(f"module {name}")
            case ["namedtupleclass", str(name), *fields]:
                return namedtuple_class(name, tuple(fields))
            case ["function", int(number), str(name), doc]:
                return self._kept("function", number, lambda: _function(self, number, name, doc))
            case ["iterator", int(number), bool(generator)]:
                make = _generator if generator else _iterator
                return self._kept("iterator", number, lambda: make(self, number))
            case ["awaitable", int(number)]:
                return _coroutine(self, number)
            case ["class", int(number), *described]:
                return self._class(described)
            case ["object", int(number), *described]:
                return self._kept("object", number, lambda: self._object(number, described))
            case ["exception", str(text), str(data), "", str(module), str(name)]:
                kind = crossing.resolve(module, name)
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise BadMessage("not an exception")
                return self._exception(kind, text, data)
            case ["exception", str(text), str(data), *described]:
                return self._exception(self._class(described), text, data)
        raise BadMessage(f"{node[0]!r} is not a kind of value")

    def _kept(self, kind: str, number: int, make: Callable[[], Any]) -> Any:
        key = (kind, number)
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def _object(self, number: int, described: list[Any]) -> Any:
        kind, data = self._class(described), described[3]
        if self.allowed < crossing.OBJECT_LEVEL:
            if data:
                return self.do("data", _Handle(number))
            if "__call__" in described:
                return _function(self, number, described[1], None)
            if "__next__" in described:
                return _iterator(self, number)
            if "__iter__" in described:
                return _Iterable(self, number)
        made = object.__new__(kind)
        object.__setattr__(made, "_srs_number", number)
        return made

    def _class(self, described: list[Any]) -> Any:
        number, name, error, data, n_bases, *rest = described
        bases, base_names = rest[:n_bases], rest[n_bases : 2 * n_bases]
        special = rest[2 * n_bases :]
        key = ("class", number)
        kind = self.made.get(key)
        if kind is None:
            parents = [
                self._kept("class", n, functools.partial(_new_class, self, n, b, ()))
                for n, b in zip(bases, base_names, strict=True)
                if b not in BUILTIN and not _is_builtin_error(b)
            ]
            if error:
                base = getattr(sys.modules["builtins"], error)
                if not (isinstance(base, type) and issubclass(base, BaseException)):
                    raise BadMessage("not an exception")
                if not issubclass(base, (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)):
                    base = Exception
                parents = [p for p in parents if issubclass(p, BaseException)]
                kind = _new_error(self, number, name, (*parents, base))
            else:
                kind = _new_class(
                    self,
                    number,
                    name,
                    tuple(p for p in parents if not issubclass(p, BaseException)),
                )
            self.made[key] = kind
        if not error:
            _add_special(kind, special, data)
        return kind

    def _exception(self, kind: Any, text: str, data: str) -> BaseException:
        arguments, attributes, cause = Decoder(self._error_only).roots(json.loads(data))
        error: BaseException = kind.__new__(kind, *arguments)
        error.args = arguments
        for name, value in attributes.items():
            if not name.startswith("__"):
                with contextlib.suppress(AttributeError, TypeError):  # one that can't be set
                    object.__setattr__(error, name, value)
        if isinstance(cause, BaseException):
            error.__cause__ = cause
        if isinstance(kind, RemoteError):
            object.__setattr__(error, "_srs_text", text)
        return error

    def _error_only(self, node: Node) -> Any:
        if node[0] != "exception":
            raise BadMessage(f"{node[0]!r} in an exception")
        return self._from_candidate(node)


class _Handle:
    """Names an object of the candidate's in a call."""

    def __init__(self, number: int) -> None:
        self._srs_number = number


class Solution(types.ModuleType):
    """The module ``solution`` as the tests see it."""

    def __init__(self, link: Link) -> None:
        super().__init__("solution")
        self.__dict__["_srs_link"] = link

    def __getattr__(self, name: str) -> Any:
        link: Link = self.__dict__["_srs_link"]
        if name == "__all__":
            return [n for n in link.do("names") if type(n) is str and not n.startswith("_")]
        if name.startswith("__"):
            raise AttributeError(name)
        if link.bound and link.bound.get(name, OWN_ERROR) != OWN_ERROR:
            module, qualified = link.bound[name]
            return _shared(module, qualified)
        value = link.do("module", name)
        if link.bound and link.bound.get(name) == OWN_ERROR and not isinstance(value, RemoteError):
            link.refuse(
                f"{name} is not an exception class of the solution's own, as the reference's is"
            )
        if isinstance(value, RemoteError):
            link.shared[name] = OWN_ERROR
        elif isinstance(value, Unusable):
            value = _module(value)
            link.shared[name] = [value.__name__, ""]
        elif (shared := crossing.shared_name(value)) is not None:
            link.shared[name] = list(shared)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            self.__dict__["_srs_link"].do("assign", name, value)

    def __delattr__(self, name: str) -> None:
        self.__dict__["_srs_link"].do("remove", name)


class Unusable:
    """A module of the candidate's: of use only where the tests take a standard one through the solution."""

    def __init__(self, what: str) -> None:
        self.what = what


def _module(value: Unusable) -> Any:
    name = value.what.removeprefix("module ")
    if name not in crossing.SHARED_MODULES and name not in ("numpy", "pandas", "random", "time"):
        raise AttributeError(f"{value.what} can't be used through the solution")
    return _shared(name, "")


def _shared(module: str, name: str) -> Any:
    import importlib

    found = importlib.import_module(module)
    return crossing.resolve(module, name) if name else found


def _one_of(iterator: Iterator[Any]) -> Iterable[Any]:
    for value in iterator:
        return (value,)
    return ()


def _no_objects_out(value: Any) -> Node:
    raise NotData(
        f"{type(value).__name__} in an exception of the tests can't be given to the solution"
    )


def _function(link: Link, number: int, name: str, doc: str | None) -> Any:
    handle = _Handle(number)

    def function(*args: Any, **kwargs: Any) -> Any:
        return link.do("call", handle, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    function.__module__ = "solution"
    function._srs_number = number  # type: ignore[attr-defined]
    return function


class _iterator:
    """An iterator of the candidate's."""

    def __init__(self, link: Link, number: int) -> None:
        self._srs_link, self._srs_number = link, number

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._srs_link.do("next", self)


class _Iterable:
    """What the candidate's own iterable gives, as often as it is asked."""

    def __init__(self, link: Link, number: int) -> None:
        self._srs_link, self._srs_number = link, number

    def __iter__(self) -> Any:
        return self._srs_link.do("operator", "__iter__", self)


def _generator(link: Link, number: int) -> Any:
    handle = _Handle(number)

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


async def _coroutine(link: Link, number: int) -> Any:
    return link.do("await", _Handle(number))


class RemoteClass(type):
    """A class of the candidate's: its instances are made and its attributes read over there."""

    _srs_link: Link
    _srs_number: int

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], ours: bool = False
    ) -> Any:
        if not ours:
            raise TypeError(f"{name}: a class of the tests can't be made from one of the solution")
        return super().__new__(cls, name, bases, namespace)

    def __init__(cls, *definition: Any, ours: bool = False) -> None:  # noqa: ARG002 -- for __new__
        super().__init__(*definition)

    def __call__(cls, /, *args: Any, **kwargs: Any) -> Any:
        cls._srs_link.use(crossing.OBJECT_LEVEL, f"an instance of {cls.__name__}")
        return cls._srs_link.do("call", cls, *args, **kwargs)

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


def _new_class(link: Link, number: int, name: str, bases: tuple[type, ...]) -> Any:
    namespace = {"_srs_link": link, "_srs_number": number, "__module__": "solution"}
    return RemoteClass(name, bases or (Remote,), namespace, ours=True)


def _new_error(link: Link, number: int, name: str, bases: tuple[type, ...]) -> Any:
    def text(self: Any) -> str:
        return str(self.__dict__.get("_srs_text", ""))

    namespace = {
        "_srs_link": link,
        "_srs_number": number,
        "__module__": "solution",
        "__str__": text,
    }
    return RemoteError(name, bases, namespace, ours=True)


def _is_builtin_error(name: str) -> bool:
    found = getattr(sys.modules["builtins"], name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def _add_special(kind: Any, names: list[str], data: str) -> None:
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
