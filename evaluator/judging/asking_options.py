"""Command-line options that say which model is asked, and that model, opened."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from evaluator.judging.asking import Asker
from evaluator.judging.endpoint import Endpoint, EndpointAsker
from evaluator.judging.local import LocalAsker
from srs.types import UserError


def add_options(parser: argparse.ArgumentParser, prefix: str) -> None:
    """``--PREFIXendpoint`` and the others."""
    group = parser.add_argument_group("the judging model" if prefix else "the model")
    defaults = Endpoint(url="", model="")
    for name, kind, default, says in (
        ("endpoint", str, "", "OpenAI-compatible API, such as http://localhost:8000/v1"),
        ("model", str, "", "its name at the endpoint"),
        (
            "key-variable",
            str,
            defaults.key_variable,
            "environment variable with the endpoint's key",
        ),
        ("timeout-s", float, defaults.timeout_s, "for one request"),
        ("retries", int, defaults.retries, "after a failure that may pass"),
        ("parallel", int, defaults.parallel, "requests at once"),
        ("max-tokens", int, defaults.max_tokens, "of a reply"),
        ("local", str, "", "instead: a model's folder or hub id on this machine, or tiny"),
        ("adapter", Path, None, "of the local model"),
        ("max-length", int, 8192, "of the local model: prompt and reply, in tokens"),
        ("engine", str, "auto", "of the local model: auto, vllm or transformers"),
    ):
        shown = f"; default {default}" if default else ""
        group.add_argument(f"--{prefix}{name}", type=kind, default=default, help=says + shown)


def chosen(args: argparse.Namespace, prefix: str) -> Literal["endpoint", "local"] | None:
    """Which kind of model the options name, None when they name none. Raises UserError for both."""
    url, local = (
        getattr(args, f"{prefix}{name}".replace("-", "_")) for name in ("endpoint", "local")
    )
    if url and local:
        raise UserError(f"give one of --{prefix}endpoint and --{prefix}local")
    if url and not getattr(args, f"{prefix}model".replace("-", "_")):
        raise UserError(f"--{prefix}model: name the endpoint's model")
    return "endpoint" if url else "local" if local else None


@contextlib.contextmanager
def opened(
    args: argparse.Namespace, prefix: str, loop: Callable[[], Any], log_path: Path
) -> Iterator[Asker | None]:
    """The model that the options name; None when they name none. Raises UserError."""

    def option(name: str) -> Any:
        return getattr(args, f"{prefix}{name}".replace("-", "_"))

    which = chosen(args, prefix)
    if which == "endpoint":
        yield EndpointAsker(
            Endpoint(
                url=option("endpoint"),
                model=option("model"),
                key_variable=option("key-variable"),
                timeout_s=option("timeout-s"),
                retries=option("retries"),
                parallel=option("parallel"),
                max_tokens=option("max-tokens"),
            )
        )
    elif which == "local":
        modules = loop()
        adapter = option("adapter")
        data: dict[str, Any] = {
            "model": {"path": option("local"), "max_length": option("max-length")},
            "generate": {"engine": option("engine"), "max_tokens": option("max-tokens")},
        }
        if adapter:
            data["finetune"] = {"lora_r": _rank(adapter)}
        config = modules.config.from_dict(data, f"--{prefix}local")
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with modules.generate.open_generator(config, log_path) as generator:
            yield LocalAsker(
                modules.generate,
                generator,
                model=option("local"),
                adapter=adapter,
                max_tokens=option("max-tokens"),
            )
    else:
        yield None


def _rank(adapter: Path) -> int:
    """The LoRA rank that an adapter says it has. Raises UserError."""
    try:
        rank: int = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{adapter}: no adapter there: {e}") from e
    return rank
