"""A run's parts on the hosts of a Ray cluster, for the place where a run is composed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Sequence

from srs import models
from srs.cluster.bundles import Reservation, divide
from srs.cluster.generation import RayGenerator
from srs.cluster.grading import RaySandbox
from srs.cluster.hosts import Host, connected, hosts
from srs.cluster.parcels import Outbox
from srs.cluster.training import RayTuner
from srs.config import Config
from srs.finetune import Tuner, open_tuner
from srs.generate import Generator, open_replica

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """The hosts as they were when the run began, and what is reserved on them."""

    config: Config
    hosts: Sequence[Host]
    reservation: Reservation
    outbox: Outbox

    def replicas(self) -> list[Callable[[], Generator]]:
        """For each bundle, what starts a replica in it, and another when that one died."""
        return [
            functools.partial(
                RayGenerator, self.config, self.reservation, number, self.outbox, open_replica
            )
            for number in range(self.reservation.division.replicas)
        ]

    def tuner(self) -> Tuner:
        """Starts the training processes in the background."""
        return RayTuner(self.config, self.reservation, self.outbox, open_tuner)

    def sandbox(self) -> RaySandbox:
        return RaySandbox(self.config.sandbox, self.hosts)


@contextlib.contextmanager
def open_cluster(config: Config) -> Iterator[Cluster]:
    """Connect and reserve the devices; on the way out everything of this run in the cluster ends.

    Raises UserError when Ray is missing, no cluster answers, or the devices don't suffice.
    """
    models.locate(config.model)
    with connected(config.devices.ray_address):
        found = hosts()
        division = divide(config.devices, found)
        log.info(
            "ray: %d hosts, %d generation replicas, training on %s",
            len(found),
            division.replicas,
            f"{division.training} devices" if division.training else "a CPU",
        )
        reservation = Reservation(division)
        try:
            yield Cluster(config=config, hosts=found, reservation=reservation, outbox=Outbox())
        finally:
            reservation.release()
