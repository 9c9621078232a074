"""What a training job on ModelArts is made of: a TOML file of its own, beside the run's config."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from srs import config as configs
from srs.types import UserError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """The section ``[modelarts]``."""

    name: str
    """1 to 64 of A-Z a-z 0-9 _ and -."""
    flavor: str
    """Resource specification, such as ``modelarts.pool.visual.4xlarge``: four cards a node."""
    run_url: str
    """Where the run directory is kept: ``obs://bucket/folder``, or a folder mounted into every node."""
    description: str = ""
    workspace: str = "0"
    region: str = ""
    """Such as ``cn-southwest-2``; `submit` needs it, or ``endpoint``."""
    endpoint: str = ""
    """URL of the ModelArts service, where it isn't the region's public one."""
    image: str = ""
    """A custom image in SWR; leave empty for a preset engine."""
    command: str = "/home/ma-user/srs/scripts/modelarts/run.sh"
    """What a custom image runs: one absolute path."""
    engine_name: str = ""
    """A preset engine, instead of ``image``."""
    engine_version: str = ""
    code_dir: str = ""
    """The folder on OBS that holds this repository, for a preset engine."""
    pool: str = ""
    """Id of a dedicated resource pool; empty = the public one."""
    nodes: int = 1
    retries: int = 3
    """How often ModelArts starts the job again after a fault of the machine; 0 = never."""
    retry_always: bool = False
    """Also when the program itself failed."""
    retry_when_hung: bool = False
    log_url: str = ""
    """A folder on OBS for the job's logs."""
    inputs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Name → folder on OBS, downloaded to ``/home/ma-user/modelarts/inputs/NAME`` before the start."""
    nfs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Folder in the container → NFS path (SFS Turbo), such as ``10.0.0.2:/models``."""
    obs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Folder in the container → ``/bucket/path`` of an OBS parallel file system."""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    """Variables for the job; none may begin with ``MA_``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The section ``[train]``: what `srs.train` is given."""

    config: str
    """A file of ``configs/``, relative to the repository."""
    tasks: str = ""
    rounds: int = -1
    """-1 = what the config says."""
    set: tuple[str, ...] = ()
    """Overrides, each ``section.key=value``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    modelarts: JobSettings
    train: TrainSettings


def load(path: Path, overrides: Sequence[str] = (), *, root: Path | None = None) -> Settings:
    """Read a job's TOML file, apply ``section.key=value`` overrides, and check the run's config too.

    ``root`` is the repository that ``train.config`` is relative to. Raises UserError naming file and key.
    """
    data = configs.read_toml(path)
    configs.apply_overrides(data, overrides, Settings)
    settings = configs.typed(Settings, data, str(path))
    _check_train(settings, path, root or Path(__file__).parents[2])
    return settings


def run_overrides(train: TrainSettings) -> list[str]:
    """``[train]`` as overrides of the run's config."""
    overrides = list(train.set)
    if train.rounds >= 0:
        overrides.append(f"run.rounds={train.rounds}")
    if train.tasks:
        overrides.append(f"tasks.source={train.tasks}")
    return overrides


def _check_train(settings: Settings, path: Path, root: Path) -> None:
    config = Path(settings.train.config)
    if config.is_absolute() or ".." in config.parts:
        raise UserError(f"{path}: train.config: name a file inside the repository, relative to it")
    try:
        configs.load(root / config, run_overrides(settings.train))
    except UserError as e:
        raise UserError(f"{path}: train: {e}") from e
