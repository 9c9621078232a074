"""The tests' end of the link to a candidate: asks for operations, rebuilds what comes back from data alone.

An object of the candidate's own class becomes a `sandbox.inside.remote.Remote`. How far the tests rely on
such objects is counted, and limited to what they did with the reference (`crossing.OBJECT_LEVEL` and up).
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from sandbox.inside import crossing, frames
from sandbox.inside.codec import BadMessage, Decoder, Encoder, Node, NotData, namedtuple_class
from sandbox.inside.remote import (
    BUILTIN,
    Handle,
    RemoteError,
    RemoteIterable,
    RemoteIterator,
    add_special,
    is_builtin_error,
    new_class,
    new_error,
    remote_coroutine,
    remote_function,
    remote_generator,
)
from sandbox.inside.solution import Unusable


class Refused(BaseException):
    """What the tests do can't be done across the link. No test may take it for an answer of the solution."""


class Link:
    """The calls to one candidate. ``allowed``: the highest level that may be relied on.

    ``bound``: names in the solution that are standard modules, classes or functions in the reference's:
    they are taken from this side. Without ``writes``, what the candidate does to its arguments stays on
    its own side; ``wrote``: whether it changed any. ``gone`` is told once why no more answers will come, and doesn't return.
    ``refused``: why something was, and ``provoked``: whether that was for what the candidate itself had made.
    """

    def __init__(
        self,
        fd: int,
        *,
        allowed: int,
        bound: dict[str, list[str]] | None,
        writes: bool,
        gone: Callable[[str], NoReturn],
    ) -> None:
        self.fd = fd
        self.allowed = allowed
        self.bound = bound
        self.writes = writes
        self.wrote = False
        self.gone = gone
        self.level = 0
        self.calls = 0
        self.refused = ""
        self.provoked = False
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
            self.calls += 1
            encoder = Encoder(self._to_candidate)
            try:
                message = encoder.message([*args, *kwargs.values()])
            except NotData as e:
                self.refuse(str(e))
            try:
                frames.send(self.fd, {"do": operation, "names": list(kwargs), **message})
                reply = self._next()
                while "ask" in reply:
                    self.calls += 1
                    frames.send(self.fd, self._answer(reply))
                    reply = self._next()
                sent = None if self.writes else message["nodes"]
                decoder = Decoder(self._from_candidate, encoder.objects, sent)
                (value,) = decoder.roots(reply)
                self.wrote = self.wrote or decoder.wrote
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
        except NotData as e:
            self.refuse(str(e))
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
        self.provoked = self.provoked or _is_made_here(value)
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
                return self._kept(
                    "function", number, lambda: remote_function(self, number, name, doc)
                )
            case ["iterator", int(number), bool(generator)]:
                make = remote_generator if generator else RemoteIterator
                return self._kept("iterator", number, lambda: make(self, number))
            case ["awaitable", int(number)]:
                return remote_coroutine(self, number)
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
                return self.do("data", Handle(number))
            if "__call__" in described:
                return remote_function(self, number, described[1], None)
            if "__next__" in described:
                return RemoteIterator(self, number)
            if "__iter__" in described:
                return RemoteIterable(self, number)
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
                self._kept("class", n, functools.partial(new_class, self, n, b, ()))
                for n, b in zip(bases, base_names, strict=True)
                if b not in BUILTIN and not is_builtin_error(b)
            ]
            if error:
                base = getattr(sys.modules["builtins"], error)
                if not (isinstance(base, type) and issubclass(base, BaseException)):
                    raise BadMessage("not an exception")
                if not issubclass(base, (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)):
                    base = Exception
                parents = [p for p in parents if issubclass(p, BaseException)]
                kind = new_error(self, number, name, (*parents, base))
            else:
                kind = new_class(
                    self,
                    number,
                    name,
                    tuple(p for p in parents if not issubclass(p, BaseException)),
                )
            self.made[key] = kind
        if not error:
            add_special(kind, special, data)
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


def _one_of(iterator: Iterator[Any]) -> Iterable[Any]:
    for value in iterator:
        return (value,)
    return ()


def _is_made_here(value: Any) -> bool:
    """Whether it stands for something of the candidate's, and is no object of the tests' own."""
    if isinstance(value, types.CoroutineType):
        return value.cr_code is remote_coroutine.__code__
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__.startswith("sandbox.inside.")


def _no_objects_out(value: Any) -> Node:
    raise NotData(
        f"{type(value).__name__} in an exception of the tests can't be given to the solution"
    )
