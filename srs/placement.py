"""Which devices generate and which train: read from the config and the machine, before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from srs.config import DevicesConfig
from srs.device import Device
from srs.types import UserError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``generation`` has one entry per replica: the devices of its tensor-parallel group.

    ``training`` holds every device that trains, one for each of the ``train_processes`` ≥ 1 ranks; on a
    CPU they share the cores.
    ``takes_turns``: generation and training use the same accelerators and can't both keep a model there.
    """

    generation: tuple[Device, ...]
    training: Device
    train_processes: int
    takes_turns: bool


def place(config: DevicesConfig, machine: Device) -> Placement:
    """Divide ``machine`` as ``config`` says.

    On a CPU, replicas and ranks divide the cores instead, and both kinds of process stay alive.
    Raises UserError naming the key when the devices don't suffice.
    """
    if machine.kind == "cpu":
        return _on_cores(config, machine)
    count, tensor_parallel = len(machine.indices), config.tensor_parallel
    split = config.placement == "split" or (config.placement == "auto" and config.async_rounds > 0)
    if config.async_rounds and not split:
        raise UserError(
            "devices.async_rounds = 1: generation can't go on while training uses its devices: "
            "set devices.placement = split, or devices.async_rounds = 0"
        )
    if split and count < 2:
        raise UserError(
            f"devices.placement = split needs 2 devices or more and this machine has {count}: "
            "set devices.placement = colocated"
        )
    n_training = (config.train_devices or count // 2) if split else count
    if not 1 <= n_training <= count - split:
        raise UserError(
            f"devices.train_devices = {config.train_devices}: there are {count} devices and "
            "generation needs one of them"
        )
    processes = _processes(config, n_training)
    trains = machine.indices[count - n_training :][:processes]
    generates = machine.indices[: count - n_training] if split else machine.indices
    groups = [
        generates[i : i + tensor_parallel]
        for i in range(0, len(generates) - tensor_parallel + 1, tensor_parallel)
    ]
    n_replicas = config.replicas or len(groups)
    if not groups or n_replicas > len(groups):
        raise UserError(
            f"devices.replicas x devices.tensor_parallel = {max(config.replicas, 1)} x "
            f"{tensor_parallel}: only {len(generates)} devices generate"
        )
    return Placement(
        generation=tuple(_part(machine, group, n_replicas) for group in groups[:n_replicas]),
        training=dataclasses.replace(machine, indices=trains),
        train_processes=processes,
        takes_turns=not split,
    )


def _on_cores(config: DevicesConfig, machine: Device) -> Placement:
    if config.tensor_parallel > 1:
        raise UserError("devices.tensor_parallel: a CPU has no groups of devices: set it to 1")
    if config.placement == "split":
        raise UserError("devices.placement = split: there are no devices to divide on a CPU")
    replicas = config.replicas or 1
    return Placement(
        generation=(dataclasses.replace(machine, threads=max(1, machine.threads // replicas)),)
        * replicas,
        training=machine,
        train_processes=config.train_processes or 1,
        takes_turns=False,
    )


def _processes(config: DevicesConfig, n_training: int) -> int:
    wanted = config.train_processes or n_training
    if wanted > n_training:
        raise UserError(
            f"devices.train_processes = {wanted}: only {n_training} devices train, and each takes one"
        )
    return wanted


def _part(machine: Device, indices: Sequence[str], parts: int) -> Device:
    threads = max(1, machine.threads // parts)
    return dataclasses.replace(machine, indices=tuple(indices), threads=threads)
