"""Processes that build a store together: one alone, or those that an MPI launcher started."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import sleep
from typing import Any, TypeVar

from alignmlm.errors import DataError
from alignmlm.ranks.cores import usable_cores

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # as launchers set it
PLACES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")
LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE")
POLL_S = 0.01  # polling interval of a waiting rank; MPI's own waiting takes a whole core
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that work together."""

    rank: int = 0
    size: int = 1
    comm: Any = None  # mpi4py's communicator; None for a single process

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which does what only one process may do."""
        return self.rank == 0

    def mine(self, items: Sequence[Value]) -> Sequence[Value]:
        """This rank's share: every size-th of items that all ranks have in the same order."""
        return items[self.rank :: self.size]

    def meet(self) -> None:
        """Wait for all ranks (a barrier)."""
        if self.comm is not None:
            request = self.comm.Ibarrier()
            while not request.Test():
                sleep(POLL_S)

    def gathered(self, value: Value) -> list[Value]:
        """The values of all ranks in rank order, on every rank."""
        self.meet()
        return [value] if self.comm is None else self.comm.allgather(value)

    def of_first(self, work: Callable[[], Value]) -> Value:
        """The result of rank 0's work, on every rank; if it fails, all ranks end, see stop."""
        if self.comm is None:
            return work()
        value = work() if self.first else None
        self.meet()
        return self.comm.bcast(value)

    def stop(self, code: int) -> None:
        """End all ranks at once, if there are several: the others may be waiting for this one."""
        if self.comm is not None:
            self.comm.Abort(code)


SINGLE = Ranks()


def number_in(names: Sequence[str]) -> int | None:
    """The value of the first of these environment variables that is set; None if none is."""
    return next((int(os.environ[name]) for name in names if os.environ.get(name)), None)


def launched_size() -> int:
    """How many ranks the MPI launcher started; 1 without one."""
    size = number_in(SIZES)
    if size is None and os.environ.get("PMIX_RANK"):  # srun --mpi=pmix
        size = number_in(("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"))
    return size or 1


def launched_rank() -> int:
    """The rank of this process among those that the MPI launcher started; 0 without one."""
    return (number_in(PLACES) or 0) if launched_size() > 1 else 0


def share_threads() -> None:
    """Divide the cores among the ranks; call it before the tokenizer is used.

    Rank 0 gets all of them: the others wait while it trains the tokenizer; see tokenizer_threads.
    """
    if launched_size() > 1:
        threads = usable_cores() if launched_rank() == 0 else own_cores()
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))


def own_cores() -> int:
    """This rank's share of the cores of its machine, at least 1."""
    local = number_in(LOCAL_SIZES) or launched_size()
    return max(1, usable_cores() // local)


def tokenizer_threads(alone: bool) -> None:
    """Let the tokenizer use threads where this rank works alone or has several cores."""
    if launched_size() > 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if alone or own_cores() > 1 else "false"


def launched_ranks() -> Ranks:
    """The ranks of the MPI launcher that started this process; without one, this process alone.

    Raises:
        DataError: mpi4py is missing, or belongs to a different MPI than the launcher.
    """
    size = launched_size()
    if size == 1:
        return SINGLE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"MPI started {size} ranks, but mpi4py cannot be used ({error}); "
            f"pip install 'alignmlm[mpi]', or start the command without mpirun"
        ) from error
    comm = MPI.COMM_WORLD
    if comm.Get_size() != size:
        raise DataError(
            f"MPI started {size} ranks, but mpi4py sees {comm.Get_size()}: it belongs to another "
            f"MPI ({MPI.Get_library_version().splitlines()[0]}) than the launcher"
        )
    return Ranks(comm.Get_rank(), size, comm)
