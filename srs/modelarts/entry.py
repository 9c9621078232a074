"""What a training job runs on each of its nodes; started by scripts/modelarts/run.sh or boot.py.

    arguments, variables ─► restore the run ─► srs.train [--resume] ─► upload, all along and at the end

The same command may be run again at any time, on the same disk or another: it goes on where the newest
upload, or this disk, left off. On a machine that isn't ModelArts' it does the same, with the folder
``runs/modelarts`` and, without ``--run_url``, no uploads.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from srs.modelarts import environment as environments
from srs.modelarts.arguments import Arguments, parse
from srs.modelarts.environment import Node
from srs.modelarts.mirror import Mirror
from srs.modelarts.nodes import OVERRIDE, Leader, NodeLost, follow
from srs.modelarts.storage import StorageError, open_storage, retried
from srs.modelarts.training import ROOT, UPLOAD_EVERY_S, command, train
from srs.types import UserError

SCRATCH = Path("/cache")
EXIT_FAILED, EXIT_UNUSABLE = 1, 2
HELP = """\
usage: run.sh [--run_url=URL] [--config=F.toml] [--tasks=T] [--rounds=N] [--section.key=value]… [--work_dir=DIR]

Trains on ModelArts, or on any machine (docs/ascend.md). Arguments in any order, the last of a name wins;
unknown ones are named in the log and ignored. Variables: SRS_SET, a JSON list of section.key=value;
SRS_UPLOAD_EVERY_S, seconds between uploads."""
logger = logging.getLogger("srs.modelarts.entry")  # also when started as __main__


def main(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    """Exit code of `srs.train`; 1 when storage or another node failed, 2 for unusable input."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    try:
        node = environments.read(variables)
        log_dir = _log_to(node)
        if node is not None and node.card != 0:
            logger.info("card %d of this node: the process of card 0 does the work", node.card)
            return 0
        return run(parse(argv, variables), node, variables, log_dir)
    except UserError as e:
        return _fail(str(e), EXIT_UNUSABLE)
    except (NodeLost, StorageError) as e:
        return _fail(str(e), EXIT_FAILED)


def run(
    arguments: Arguments, node: Node | None, variables: Mapping[str, str], log_dir: Path | None
) -> int:
    """This node's part. Raises UserError, StorageError, NodeLost."""
    if arguments.ignored:
        logger.info("ignored: %s", " ".join(arguments.ignored))
    work = _work_dir(arguments, node)
    env = environments.for_children(variables, work)
    every_s = _upload_every_s(variables)
    if node is not None and not node.is_first:
        logger.info("node %d of %d: lending devices", node.index, len(node.hosts))
        return follow(node, env, log_dir)
    overrides = _overrides(arguments, node)
    if node is None or len(node.hosts) == 1:
        return _train(arguments, overrides, work, env, every_s)
    with Leader(node, env, log_dir) as leader:
        try:
            env |= leader.variables
            leader.code = _train(arguments, overrides, work, env, every_s)
        except UserError:
            leader.code = EXIT_UNUSABLE
            raise
        return leader.code


def _train(
    arguments: Arguments,
    overrides: Sequence[str],
    work: Path,
    env: Mapping[str, str],
    every_s: float,
) -> int:
    """Restore, train, upload. Raises UserError, StorageError."""
    mirror, resume = None, (work / "run" / "config.json").is_file()
    if arguments.run_url:
        storage = open_storage(arguments.run_url)
        mirror = retried(functools.partial(Mirror, work, storage), "not reached")
        resume = retried(mirror.restore, "not restored")
    else:
        logger.info("no run_url: the run stays on this disk, in %s", work)
    words = command(work / "run", resume=resume, config=arguments.config, overrides=overrides)
    return train(words, env, mirror, every_s)


def _overrides(arguments: Arguments, node: Node | None) -> list[str]:
    """What the run's config is changed by, in order. There is no Docker in ModelArts' containers."""
    found = ["sandbox.backend=process"] if node is not None else []
    found += [OVERRIDE] if node is not None and len(node.hosts) > 1 else []
    found += arguments.overrides
    if arguments.rounds:
        found.append(f"run.rounds={arguments.rounds}")
    if arguments.tasks:
        found.append(f"tasks.source={arguments.tasks}")
    return found


def _work_dir(arguments: Arguments, node: Node | None) -> Path:
    """Node-local: the argument, else ``/cache/srs`` on ModelArts, else a folder in ``runs/``."""
    if arguments.work_dir:
        work = Path(arguments.work_dir).absolute()
    elif node is not None and os.access(SCRATCH, os.W_OK):
        work = SCRATCH / "srs"
    else:
        work = ROOT / "runs" / "modelarts"
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"work_dir = {work}: cannot be made: {e.strerror}") from e
    return work


def _upload_every_s(variables: Mapping[str, str]) -> float:
    text = variables.get("SRS_UPLOAD_EVERY_S", "")
    try:
        return float(text) if text else UPLOAD_EVERY_S
    except ValueError as e:
        raise UserError(f"SRS_UPLOAD_EVERY_S = {text!r}: write a number of seconds") from e


def _log_to(node: Node | None) -> Path | None:
    """Standard output, which ModelArts shows, and a file in ``MA_LOG_DIR``, returned if it takes any."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    refused = ""
    if node is not None and node.log_dir is not None:
        try:
            node.log_dir.mkdir(parents=True, exist_ok=True)
            name = (
                f"srs-{node.index}.log" if node.card == 0 else f"srs-{node.index}-{node.card}.log"
            )
            handlers.append(logging.FileHandler(node.log_dir / name, encoding="utf-8"))
        except OSError as e:
            refused = f"MA_LOG_DIR = {node.log_dir}: no log there: {e.strerror}"
    logging.basicConfig(format="%(message)s", handlers=handlers, force=True)
    logging.getLogger("srs").setLevel(logging.INFO)
    if refused:
        logger.warning(refused)
    return node.log_dir if node is not None and not refused else None


def _fail(message: str, code: int) -> int:
    line = f"srs.modelarts.entry: {message}"
    logger.error(line)
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
