"""The module ``solution`` as the tests see it when the candidate runs elsewhere."""

from __future__ import annotations

import contextlib
import types
from typing import TYPE_CHECKING, Any

from sandbox.inside import crossing
from sandbox.inside.remote import RemoteError

if TYPE_CHECKING:
    from sandbox.inside.link import Link

OWN_ERROR = ["", ""]
"""In place of a module and a name: the reference's is an exception class of its own."""


class Solution(types.ModuleType):
    """The module ``solution`` as the tests see it."""

    def __init__(self, link: Link) -> None:
        super().__init__("solution")
        self.__dict__["_srs_link"] = link
        self.__dict__["_srs_replaced"] = {}

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
            return
        with contextlib.suppress(AttributeError):  # a name that is new
            self.__dict__["_srs_replaced"].setdefault(name, getattr(self, name))
        self.__dict__["_srs_link"].do("assign", name, value)

    def __delattr__(self, name: str) -> None:
        """What was replaced comes back: names that a module computes are restored by deleting theirs."""
        replaced, link = self.__dict__["_srs_replaced"], self.__dict__["_srs_link"]
        if name in replaced:
            link.do("assign", name, replaced.pop(name))
        else:
            link.do("remove", name)


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
