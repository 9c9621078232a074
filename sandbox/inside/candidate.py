"""The candidate's side of a split run: loads the solution and does what the tests ask, one call at a time.

Whatever runs here is in the candidate's hands. Nothing that this side says is believed to be more than
data that the candidate chose.
"""

from __future__ import annotations

import collections
import inspect
import io
import itertools
import json
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from sandbox.inside import crossing, frames
from sandbox.inside.codec import Decoder, Encoder, Node, NotData

FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    type(len),
)
ITERATORS: tuple[type, ...] = (
    types.GeneratorType, map, filter, zip, enumerate, reversed, type(iter([])), type(iter(())),
    type(iter({})), type(iter(set())), type(iter("")), type(iter(range(0))), itertools.chain,
    itertools.islice, itertools.count, itertools.cycle, itertools.product, itertools.permutations,
    itertools.combinations,
)  # fmt: skip
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
LOADED: dict[str, Any] = {}


class Printed(io.RawIOBase):
    """Keeps what is printed, for the tests; past ``limit`` bytes it goes to ``fd``, and is counted there."""

    def __init__(self, fd: int) -> None:
        self.fd, self.limit = fd, 0
        self.kept = bytearray()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.fd

    def write(self, data: Any) -> int:
        if len(self.kept) + len(data) > self.limit:
            os.write(self.fd, bytes(self.limit + 1))
        self.kept += data
        return len(data)

    def take(self) -> str:
        text = self.kept.decode("utf-8", "replace")
        self.kept.clear()
        return text


class Candidate:
    """Serves one solution over the socket ``fd`` until it closes. Made before the fork that uses it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.owned: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.printed = [Printed(1), Printed(2)]
        self.loop: Any = None
        self.busy = threading.RLock()
        self.streams = [
            io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding="utf-8",
                errors="backslashreplace",
                line_buffering=True,
            )
            for raw in self.printed
        ]
        self.operations: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "names": lambda: sorted(LOADED["module"].__dict__),
            "module": lambda name: getattr(LOADED["module"], name),
            "assign": lambda name, value: setattr(LOADED["module"], name, value),
            "remove": lambda name: delattr(LOADED["module"], name),
            "call": lambda function, /, *args, **kwargs: function(*args, **kwargs),
            "get": getattr,
            "set": setattr,
            "delete": delattr,
            "list": dir,
            "operator": _operator,
            "data": _base_data,
            "next": next,
            "send": lambda generator, value: generator.send(value),
            "throw": lambda generator, error: generator.throw(error),
            "close": lambda generator: generator.close(),
            "await": self._await,
        }

    def serve(self, output_limit: int) -> None:
        for raw in self.printed:
            raw.limit = output_limit
        sys.stdout, sys.stderr = self.streams
        self.pid = os.getpid()
        while True:
            try:
                request = frames.receive(self.fd)
            except EOFError:
                return
            reply = self._answer(request)
            with self.busy:
                frames.send(self.fd, reply)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        decoder = Decoder(self._from_tests)
        roots = decoder.roots(request)
        names = request["names"]
        cut = len(roots) - len(names)
        try:
            result = self.operations[request["do"]](
                *roots[:cut], **dict(zip(names, roots[cut:], strict=True))
            )
            reply = self._message(decoder, result, "returned")
        except BaseException as e:  # all of it is the solution's answer
            if os.getpid() != self.pid:  # in a child that the solution forked
                os._exit(e.code if isinstance(e, SystemExit) and type(e.code) is int else 1)
            trim = e.__traceback__
            e.__traceback__ = trim.tb_next if trim else None
            try:
                reply = self._message(decoder, e, "raised")
            except Exception:
                # What the arguments have become can't be told either.
                error = self._exception(RuntimeError(f"raised {type(e).__name__}"))
                n = len(decoder.objects)
                reply = {"nodes": [*[None] * n, error], "roots": [[n]], "how": "raised"}
        return reply

    def _message(self, decoder: Decoder, value: Any, how: str) -> dict[str, Any]:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the solution replaced or closed it
                continue
        known = decoder.objects
        message = Encoder(self._to_tests, known).message([value], decoder.nodes[: len(known)])
        printed = [raw.take() for raw in self.printed]
        return {**message, "how": how, **({"printed": printed} if any(printed) else {})}

    def _load(self, source: str) -> None:
        """Import the solution as the module ``solution``, from its file in the working directory."""
        path = os.path.join(os.getcwd(), "solution.py")
        data = source.encode("utf-8", "surrogatepass")
        with open(path, "wb") as file:
            file.write(data)
        sys.argv = [path]
        module = types.ModuleType("solution")
        module.__file__ = path
        module.__dict__["__builtins__"] = __builtins__
        sys.modules["solution"] = module
        sys.path.insert(0, os.path.dirname(path))
        LOADED["module"] = module
        exec(compile(data, path, "exec", dont_inherit=True), module.__dict__)

    def _await(self, awaitable: Any) -> Any:
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()

        async def finished() -> Any:
            return await awaitable

        return self.loop.run_until_complete(finished())

    # What isn't data, on its way out

    def _own(self, value: Any) -> int:
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.owned)
            self.owned.append(value)
        return number

    def _to_tests(self, value: Any) -> Node:
        theirs = getattr(value, "__srs_theirs__", None)
        if type(theirs) is int:
            return ["yours", theirs]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        shared = crossing.shared_name(value)
        if shared is not None:
            return ["global", *shared]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, BaseException):
            return self._exception(value)
        if isinstance(value, FUNCTIONS):
            name, doc = getattr(value, "__name__", "function"), getattr(value, "__doc__", None)
            return ["function", self._own(value), str(name), doc if type(doc) is str else None]
        if isinstance(value, ITERATORS):
            return ["iterator", self._own(value), isinstance(value, types.GeneratorType)]
        if inspect.isawaitable(value):
            return ["awaitable", self._own(value)]
        return ["object", self._own(value), *self._described(type(value))]

    def _class(self, value: type) -> Node:
        fields = getattr(value, "_fields", None)
        if value.__bases__ == (tuple,) and isinstance(fields, tuple) and not _has_methods(value):
            return ["namedtupleclass", value.__name__, *map(str, fields)]
        return ["class", self._own(value), *self._described(value)]

    def _described(self, kind: type) -> list[Any]:
        """Number and name of the class, of its exception base and data base, then its special methods."""
        error = next((c for c in kind.__mro__ if c.__module__ == "builtins" and issubclass(c, BaseException)), None)  # fmt: skip
        data = next((c for c in kind.__mro__ if c in DATA_BASES), None)
        bases = [self._own(base) for base in kind.__bases__ if base is not object]
        names = [base.__name__ for base in kind.__bases__ if base is not object]
        special = sorted(
            name
            for name in crossing.FORWARDED
            if _special(kind, name) not in (None, _special(data or object, name))
        )
        return [
            self._own(kind),
            kind.__name__,
            error.__name__ if error else "",
            data.__name__ if data else "",
            len(bases),
            *bases,
            *names,
            *special,
        ]

    def _exception(self, value: BaseException) -> Node:
        attributes = {k: v for k, v in vars(value).items() if type(k) is str and self._sent(v)}
        for kind in type(value).__mro__:
            if kind.__module__ == "builtins" and kind not in (BaseException, Exception, object):
                slots = {k for k, v in vars(kind).items() if isinstance(v, SLOTS)}
                for name in slots:
                    if hasattr(value, name) and self._sent(getattr(value, name)):
                        attributes[name] = getattr(value, name)
        arguments = tuple(a if self._sent(a) else repr(a) for a in value.args)
        cause = value.__cause__ if self._sent(value.__cause__) else None
        message = Encoder(self._error_only).message([arguments, attributes, cause])
        shared = crossing.shared_name(type(value))
        described = ["", *shared] if shared else self._described(type(value))
        return ["exception", str(value), json.dumps(message), *described]

    def _error_only(self, value: Any) -> Node:
        if isinstance(value, BaseException):
            return self._exception(value)
        raise NotData(type(value).__name__)

    def _sent(self, value: Any) -> bool:
        try:
            Encoder(self._error_only).message([value])
        except (NotData, RecursionError):
            return False
        return True

    # What isn't data, on its way in

    def _from_tests(self, node: Node) -> Any:
        match node:
            case ["yours", int(number)]:
                return self.owned[number]
            case ["global", str(module), str(name)]:
                return crossing.resolve(module, name)
            case ["callback", int(number), str(name)]:
                return self._callback(number, name)
            case ["iterator", int(number)]:
                return self._their_iterator(number)
            case ["error", int(number), str(module), str(name), str(arguments)]:
                (args,) = Decoder(self._from_tests).roots(json.loads(arguments))
                error = self._their_error(module, name, args)
                error.__srs_theirs__ = number  # type: ignore[attr-defined]
                return error
        raise NotData(f"{node[0]} from the tests")

    def _callback(self, number: int, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._ask("call", number, args, kwargs)

        call.__name__ = call.__qualname__ = name
        call.__srs_theirs__ = number  # type: ignore[attr-defined]
        return call

    def _their_iterator(self, number: int) -> Iterator[Any]:
        while True:
            found = self._ask("next", number, (), {})
            if not found:
                return
            yield found[0]

    def _ask(self, what: str, number: int, args: Any, kwargs: dict[str, Any]) -> Any:
        with self.busy:
            encoder = Encoder(self._to_tests)
            message = encoder.message([*args, *kwargs.values()])
            frames.send(self.fd, {"ask": what, "number": number, "names": list(kwargs), **message})
            reply = frames.receive(self.fd)
            while "do" in reply:  # the callback itself called the solution
                frames.send(self.fd, self._answer(reply))
                reply = frames.receive(self.fd)
            decoder = Decoder(self._from_tests, encoder.objects)
            (value,) = decoder.roots(reply)
        if reply["how"] == "raised":
            raise self._their_error(*value)
        return value

    def _their_error(self, module: str, name: str, args: tuple[Any, ...]) -> BaseException:
        kind = crossing.resolve(module, name)
        error = kind(*args) if isinstance(kind, type) else RuntimeError(*args)
        return error if isinstance(error, BaseException) else RuntimeError(*args)


DATA_BASES = {int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict}  # fmt: skip


def _base_data(value: Any) -> Any:
    """The data in an instance of a subclass of a builtin type, read past the subclass's own methods."""
    base = next(c for c in type(value).__mro__ if c in DATA_BASES)
    if base in (list, tuple, set, frozenset, collections.deque):
        return base(base.__iter__(value))
    if issubclass(base, dict):
        return {key: dict.__getitem__(value, key) for key in dict.__iter__(value)}
    if base in (bytes, bytearray):
        return base(memoryview(value))
    if base is str:
        return str.__str__(value)
    return {int: int.__int__, float: float.__float__, complex: complex.__complex__}[base](value)


def _operator(name: str, value: Any, /, *args: Any, **kwargs: Any) -> Any:
    return getattr(type(value), name)(value, *args, **kwargs)


def _special(kind: type, name: str) -> Any:
    """The special method as Python looks it up: not in the metaclass, nor what every object has."""
    return next((vars(c)[name] for c in kind.__mro__ if c is not object and name in vars(c)), None)


def _has_methods(kind: type) -> bool:
    own = vars(kind)
    made = {"_make", "_replace", "_asdict", "_fields", "_field_defaults", "__match_args__"}
    return any(callable(v) and not k.startswith("__") and k not in made for k, v in own.items())
