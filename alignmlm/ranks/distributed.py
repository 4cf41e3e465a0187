"""Joining the other ranks, under any launcher."""

import logging
import os
import socket
from dataclasses import replace
from datetime import timedelta

import torch

from alignmlm.errors import ConfigError
from alignmlm.ranks.devices import name_accelerator, share_cores
from alignmlm.ranks.network import (
    free_port,
    host_address,
    interface_towards,
    reachable_address,
)
from alignmlm.ranks.placement import Placement, launched_by

log = logging.getLogger(__name__)


def start_distributed(timeout_s: float = 600.0) -> tuple[int, int]:
    """Join the other ranks; returns (rank, world size). Without a launcher there is one rank.

    No collective operation waits longer than `timeout_s`, whether ours, torch's or DeepSpeed's.

    Raises:
        ConfigError: the launcher's variables contradict each other, or do not say where rank 0 is;
            or rank 0's port is in use.
    """
    try:
        launched = launched_by(os.environ)
        place = with_master(launched)
    except ConfigError as error:
        error.add_note(f"host {socket.gethostname()}")  # others may see no error
        raise
    if torch.cuda.device_count() == 1:
        place = replace(place, local_rank=0)  # the launcher exposes one device to each rank
    os.environ.update(place.variables())
    logging.getLogger("alignmlm").setLevel(logging.WARNING if place.rank else logging.INFO)
    name_accelerator()
    share_cores()
    if place.local_world_size < place.world_size:
        choose_interface(str(place.master_addr))
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        # its shared-memory all-reduce takes half a minute of C++ compilation at the first run
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not torch.distributed.is_initialized():
        limit = limit_collectives(timeout_s)
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if place.world_size == 1 and launched.master_port is None:
            # in memory: runs that start at the same time could be given the same free port
            torch.distributed.init_process_group(
                backend, timeout=limit, store=torch.distributed.HashStore(), rank=0, world_size=1
            )
        try:
            deepspeed.init_distributed(dist_backend=backend, timeout=limit, verbose=False)
        except torch.distributed.DistNetworkError as error:
            if "EADDRINUSE" not in str(error):
                raise
            raise port_in_use(place) from error
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def port_in_use(place: Placement) -> ConfigError:
    """The error for a port of rank 0 at which another process, such as another run, listens."""
    requirement = (
        "be a free port: another run may use it; name another one with the launcher's --master_port"
    )
    error = ConfigError("MASTER_PORT", place.master_port, requirement)
    error.add_note(f"host {socket.gethostname()}")
    return error


def limit_collectives(timeout_s: float) -> timedelta:
    """Set the timeout of collectives for every group created from now on; returns it.

    DeepSpeed passes its own limit to the first group only; the others have torch's default.
    """
    from torch.distributed import distributed_c10d

    limit = timedelta(seconds=timeout_s)
    distributed_c10d.default_pg_timeout = limit
    distributed_c10d.default_pg_nccl_timeout = limit
    return limit


def choose_interface(master: str) -> None:
    """Tell gloo which network interface to use where this host's name resolves to loopback.

    Debian writes `127.0.1.1 <name>` into /etc/hosts, and gloo listens on the name's address.
    NCCL skips loopback by itself. A set GLOO_SOCKET_IFNAME is left as it is.
    """
    if "GLOO_SOCKET_IFNAME" in os.environ or not host_address().startswith("127."):
        return
    name = interface_towards(master)
    if name is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = name
        log.info("the name of this host stands for %s; gloo uses %s", host_address(), name)


def with_master(place: Placement) -> Placement:
    """The placement with rank 0's address and port; under mpirun rank 0 broadcasts them.

    Raises:
        ConfigError: the broadcast needs mpi4py, which is missing or uses another MPI.
    """
    if place.master_addr is not None and place.master_port is not None:
        return place
    if place.world_size == 1:
        return replace(place, master_addr="127.0.0.1", master_port=place.master_port or free_port())
    on_one_node = place.local_world_size == place.world_size
    address = place.master_addr or ("127.0.0.1" if on_one_node else reachable_address())
    master = told_by_first_rank(place, (address, place.master_port or free_port()))
    return replace(place, master_addr=master[0], master_port=master[1])


def told_by_first_rank(place: Placement, mine: tuple[str, int]) -> tuple[str, int]:
    """Broadcast rank 0's address and port by MPI.

    MPI is finalised right after: a rank that fails then exits alone and at once, and mpirun ends
    the others. Otherwise MPI_Finalize would wait for them for ever.

    Raises:
        ConfigError: mpi4py is missing, or uses a different MPI from mpirun's.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        requirement = f"be set, with MASTER_PORT, or mpi4py be installed ({error})"
        raise ConfigError("MASTER_ADDR", None, requirement) from error
    size = MPI.COMM_WORLD.Get_size()
    if size != place.world_size:
        requirement = (
            f"be what mpi4py finds ({size}): its {MPI.Get_library_version().split(',')[0].strip()} "
            f"is another MPI than that of mpirun; set MASTER_ADDR and MASTER_PORT instead"
        )
        raise ConfigError("world size", place.world_size, requirement)
    master = MPI.COMM_WORLD.bcast(mine, root=0)
    MPI.Finalize()
    return master
