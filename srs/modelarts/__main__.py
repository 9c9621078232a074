"""Training jobs on ModelArts: write the request, send it.

python -m srs.modelarts render --config configs/modelarts/F.toml --out job.json
python -m srs.modelarts submit --config configs/modelarts/F.toml
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srs.types import UserError

EXIT_REFUSED, EXIT_UNUSABLE = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Exit 0 done, 1 the service failed or was not reached, 2 unusable input or refused by the service."""
    arguments = _parser().parse_args(argv)
    from srs.modelarts.sdk import Refused

    try:
        arguments.run(arguments)
    except UserError as e:
        print(f"srs.modelarts: {e}", file=sys.stderr)
        return EXIT_UNUSABLE
    except Refused as e:
        print(f"srs.modelarts: {e}", file=sys.stderr)
        return EXIT_UNUSABLE if e.ours else EXIT_REFUSED
    return 0


def render(arguments: argparse.Namespace) -> None:
    job, _ = _build(arguments)
    checked = _check(job)
    text = json.dumps(job, indent=1, ensure_ascii=False) + "\n"
    partial = arguments.out.with_name(f".{arguments.out.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(arguments.out)
    except OSError as e:
        raise UserError(f"{arguments.out}: cannot be written: {e.strerror}") from e
    print(f"{arguments.out}: job {job['metadata']['name']}, {_size(job)}; {checked}")


def submit(arguments: argparse.Namespace) -> None:
    from srs.modelarts import sdk
    from srs.modelarts.submit import Credentials, preview, read_job

    region, endpoint = arguments.region, arguments.endpoint
    if arguments.job is not None:
        if arguments.set:
            raise UserError("--set changes a --config: give it to `render`, which wrote the job")
        job = read_job(arguments.job)
    else:
        job, settings = _build(arguments)
        region = region or settings.modelarts.region
        endpoint = endpoint or settings.modelarts.endpoint
    credentials = Credentials.read(os.environ)
    if credentials is None:
        checked = _check(job)
        print(preview(job, region=region, endpoint=endpoint, checked=checked))
        return
    if not region and not endpoint:
        raise UserError("modelarts.region is empty: set it, or give --region or --endpoint")
    created = sdk.send(job, credentials, region=region, endpoint=endpoint)
    print(f"created training job {created} ({job['metadata']['name']}, {_size(job)})")


def _build(arguments: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    from srs.modelarts.request import build
    from srs.modelarts.settings import load

    settings = load(arguments.config, arguments.set)
    return build(settings), settings


def _check(job: dict[str, Any]) -> str:
    """Compare it with the SDK's models, where there are any; says whether. Raises UserError."""
    from srs.modelarts import sdk

    if not sdk.installed():
        return "not checked against the SDK's models: it is not installed"
    sdk.check(job)
    return "checked against the SDK's models"


def _size(job: dict[str, Any]) -> str:
    resource = job["spec"]["resource"]
    return f"{resource['node_count']} x {resource['flavor_id']}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m srs.modelarts",
        description="Training jobs on Huawei Cloud ModelArts (docs/ascend.md).",
    )
    commands = parser.add_subparsers(required=True, metavar="render|submit")
    rendering = commands.add_parser("render", help="write a job's request to a file")
    rendering.set_defaults(run=render)
    rendering.add_argument("--out", type=Path, required=True, metavar="job.json")
    sending = commands.add_parser(
        "submit", help="send it; without credentials, print what would be sent"
    )
    sending.set_defaults(run=submit)
    what = sending.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, metavar="job.json", help="a file of `render`")
    sending.add_argument("--region", default="", help="default: modelarts.region")
    sending.add_argument("--endpoint", default="", metavar="URL", help="default: the region's")
    for command, place in ((rendering, rendering), (sending, what)):
        place.add_argument(
            "--config", type=Path, required=command is rendering, metavar="F.toml",
            help="the job: see configs/modelarts/",
        )  # fmt: skip
        command.add_argument(
            "--set", action="append", default=[], metavar="section.key=value",
            help="override one key of that file; may be repeated",
        )  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
