"""Stands in for sedna's registry: an alias that comes twice silently replaces the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar


class ClassType:
    GENERAL = "general"


class ClassFactory:
    registry: ClassVar[dict[tuple[str, str], Any]] = {}

    @classmethod
    def register(cls, type_name: str, alias: str) -> Callable[[Any], Any]:
        def remember(thing: Any) -> Any:
            cls.registry[type_name, alias] = thing
            return thing

        return remember

    @classmethod
    def get_cls(cls, type_name: str, t_cls_name: str) -> Any:
        if (type_name, t_cls_name) not in cls.registry:
            raise ValueError(f"nothing is registered as {t_cls_name}")
        return cls.registry[type_name, t_cls_name]
