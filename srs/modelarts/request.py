"""A job's request: the body of ``POST /v2/{project_id}/training-jobs``.

    settings ─► build ─► {"kind", "metadata", "algorithm", "spec"} ─► job.json

A custom image has ``image_url`` and ``command``; a preset engine has its name and version, ``code_dir``
and ``boot_file``. What `srs.modelarts.entry` reads on the node is in ``parameters`` (plain words) and in
the variable ``SRS_SET`` (overrides, as JSON: no shell ever sees it).
"""

from __future__ import annotations

import json
from typing import Any

from srs.modelarts import arguments, names
from srs.modelarts.settings import JobSettings, Settings
from srs.types import UserError

BOOT_FILE = "scripts/modelarts/boot.py"
INPUTS = "/home/ma-user/modelarts/inputs"


def build(settings: Settings) -> dict[str, Any]:
    """The request as JSON-ready dicts. Raises UserError naming the key that breaks a rule."""
    job = settings.modelarts
    names.check_name("modelarts.name", job.name)
    names.check_description("modelarts.description", job.description)
    spec: dict[str, Any] = {"resource": _resource(job)}
    if volumes := _volumes(job):
        spec["volumes"] = volumes
    if job.log_url:
        names.check_obs_url("modelarts.log_url", job.log_url)
        spec["log_export_path"] = {"obs_url": _folder(job.log_url)}
    metadata: dict[str, Any] = {"name": job.name, "workspace_id": job.workspace}
    if job.description:
        metadata["description"] = job.description
    if annotations := _annotations(job):
        metadata["annotations"] = annotations
    return {
        "kind": "job",
        "metadata": metadata,
        "algorithm": _algorithm(settings),
        "spec": spec,
    }


def _algorithm(settings: Settings) -> dict[str, Any]:
    algorithm = _engine(settings.modelarts)
    algorithm["parameters"] = _parameters(settings)
    if inputs := _inputs(settings.modelarts):
        algorithm["inputs"] = inputs
    environment = dict(settings.modelarts.environment)
    if settings.train.set:
        if "SRS_SET" in environment:
            raise UserError("modelarts.environment.SRS_SET: write these overrides into train.set")
        environment["SRS_SET"] = json.dumps(settings.train.set)
    names.check_environment("modelarts.environment", environment)
    if environment:
        algorithm["environments"] = environment
    return algorithm


def _engine(job: JobSettings) -> dict[str, Any]:
    preset = (job.engine_name, job.engine_version, job.code_dir)
    if job.image and any(preset):
        raise UserError(
            "modelarts.image: a custom image takes no engine_name, engine_version or code_dir: "
            "leave one or the other out"
        )
    if job.image:
        names.check_command("modelarts.command", job.command)
        names.check_parameter("modelarts.image", "image", job.image)
        return {"engine": {"image_url": job.image}, "command": job.command}
    for key, value in zip(("engine_name", "engine_version", "code_dir"), preset, strict=True):
        if not value:
            raise UserError(
                f"modelarts.{key}: missing; give image, or engine_name, engine_version and code_dir"
            )
    names.check_obs_url("modelarts.code_dir", job.code_dir)
    code = _folder(job.code_dir).removeprefix("obs:/")
    return {
        "engine": {"engine_name": job.engine_name, "engine_version": job.engine_version},
        "code_dir": code,
        "boot_file": code + BOOT_FILE,
    }


def _parameters(settings: Settings) -> list[dict[str, str]]:
    train = settings.train
    _check_run_url(settings.modelarts)
    values = {"run_url": settings.modelarts.run_url.rstrip("/"), "config": train.config}
    if train.rounds >= 0:
        values["rounds"] = str(train.rounds)
    if train.tasks:
        values["tasks"] = train.tasks
    for name, value in values.items():
        section = "modelarts" if name == "run_url" else "train"
        names.check_parameter(f"{section}.{name}", name, value)
    return [{"name": name, "value": value} for name, value in values.items()]


def _check_run_url(job: JobSettings) -> None:
    if job.run_url.startswith("obs:"):
        names.check_obs_url("modelarts.run_url", job.run_url)
        return
    names.check_folder("modelarts.run_url", job.run_url)
    mounts = [*job.nfs, *job.obs]
    if not any(job.run_url == m or job.run_url.startswith(f"{m.rstrip('/')}/") for m in mounts):
        raise UserError(
            f"modelarts.run_url = {job.run_url!r}: is in no folder mounted by modelarts.nfs or "
            "modelarts.obs, so it would be lost with the container"
        )


def _inputs(job: JobSettings) -> list[dict[str, Any]]:
    found = []
    for name, url in job.inputs.items():
        names.check_name(f"modelarts.inputs.{name}", name)
        if name in (*arguments.NAMES, "set"):
            raise UserError(f"modelarts.inputs.{name}: our own argument has that name: rename it")
        names.check_obs_url(f"modelarts.inputs.{name}", url)
        found.append(
            {
                "name": name,
                "local_dir": f"{INPUTS}/{name}",
                "access_method": "parameter",
                "remote": {"obs": {"obs_url": _folder(url)}},
            }
        )
    return found


def _resource(job: JobSettings) -> dict[str, Any]:
    if job.nodes < 1:
        raise UserError("modelarts.nodes: must be 1 or more")
    if not job.flavor:
        raise UserError("modelarts.flavor: missing, such as modelarts.pool.visual.4xlarge")
    pool = {"pool_id": job.pool} if job.pool else {}
    return {"flavor_id": job.flavor, "node_count": job.nodes, **pool}


def _volumes(job: JobSettings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for folder, server in job.nfs.items():
        names.check_mount(f"modelarts.nfs.{folder}", folder)
        if ":/" not in server:
            raise UserError(f"modelarts.nfs.{folder} = {server!r}: write it as SERVER:/PATH")
        found.append({"nfs": {"nfs_server_path": server, "local_path": folder, "read_only": False}})
    for folder, path in job.obs.items():
        names.check_mount(f"modelarts.obs.{folder}", folder)
        names.check_folder(f"modelarts.obs.{folder}", path)
        found.append({"obs": {"obs_path": path, "local_path": folder}})
    return found


def _annotations(job: JobSettings) -> dict[str, str]:
    if job.retries < 0:
        raise UserError("modelarts.retries: must be 0 or more")
    found = {}
    if job.retries:
        found["fault-tolerance/job-retry-num"] = str(job.retries)
    if job.retry_always:
        found["fault-tolerance/job-unconditional-retry"] = "true"
    if job.retry_when_hung:
        found["fault-tolerance/hang-retry"] = "true"
    return found


def _folder(url: str) -> str:
    return url.rstrip("/") + "/"
