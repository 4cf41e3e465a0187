"""This process's place among the ranks, read from its launcher's variables."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from alignmlm.errors import ConfigError
from alignmlm.storage.registry import Registry

Environment = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """The place of one process among all of a run."""

    launcher: str  # its name, for messages
    rank: int
    world_size: int
    local_rank: int  # among the ranks of this node
    local_world_size: int
    master_addr: str | None  # where rank 0 listens; none: rank 0 has to broadcast it
    master_port: int | None

    def variables(self) -> dict[str, str]:
        """The environment that torch and DeepSpeed read, once the master is known."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world_size),
            "MASTER_ADDR": str(self.master_addr),
            "MASTER_PORT": str(self.master_port),
        }


def first_set(names: tuple[str, ...], environ: Environment) -> str:
    """The name of the first variable that is set; if none is, the last name."""
    return next((name for name in names if name in environ), names[-1])


def number(names: tuple[str, ...], environ: Environment) -> int:
    """The value of the first variable that is set.

    Raises:
        ConfigError: none is set, or its value is not a whole number.
    """
    name = first_set(names, environ)
    value = environ.get(name)
    if value is None or not re.fullmatch(r"\d+", value):
        raise ConfigError(name, value, "be set to a whole number by the launcher")
    return int(value)


def tasks_on_node(counts: str, node: int) -> int:
    """The number of tasks on a node, from SLURM's notation: "2(x3),1" means 2, 2, 2 and 1."""
    every: list[int] = []
    for part in counts.split(","):
        count, _, times = part.removesuffix(")").partition("(x")
        every += [int(count)] * int(times or 1)
    return every[min(node, len(every) - 1)]


def first_host(nodelist: str) -> str:
    """The first host of a SLURM node list, where "node[01-03,7],head" begins with node01."""
    first = re.split(r",(?![^\[]*\])", nodelist)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def slurm_ranks_of_node(environ: Environment) -> int:
    """The number of ranks on this node of a SLURM step."""
    counts = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE")
    return tasks_on_node(counts or "1", int(environ.get("SLURM_NODEID", "0")))


def slurm_master(environ: Environment) -> tuple[str, int]:
    """The first host of a SLURM step, and a port derived from its job ID."""
    address = first_host(environ["SLURM_STEP_NODELIST"])
    return address, 20000 + number(("SLURM_JOB_ID",), environ) % 20000


@dataclass(frozen=True, kw_only=True, slots=True)
class Launcher:
    """The variables in which a launcher gives a process its place; the first one set counts.

    `marks` are set in every process that it starts, and in no other. MASTER_ADDR and MASTER_PORT
    take precedence over `master`.
    """

    marks: tuple[str, ...]
    rank: str
    world_size: tuple[str, ...]
    local_rank: tuple[str, ...]
    local_world_size: tuple[str, ...] = ()
    ranks_of_node: Callable[[Environment], int] | None = None  # where no variable says it
    master: Callable[[Environment], tuple[str, int]] | None = None  # address and port of rank 0
    mpi: bool = False  # whether rank 0 can broadcast them over MPI
    # whether mpirun or srun may start it: their variables then describe the launcher, not its ranks
    innermost: bool = False
    shown: str = ""  # its name in code.json, if other than its key


BY_HAND = Launcher(
    marks=("RANK",),
    rank="RANK",
    world_size=("WORLD_SIZE",),
    local_rank=("LOCAL_RANK",),
    local_world_size=("LOCAL_WORLD_SIZE", "LOCAL_SIZE"),
)
LAUNCHERS: Registry[Launcher] = Registry(  # a launcher comes after those that it may start
    "launchers",
    (Launcher,),
    {
        "torchrun": replace(BY_HAND, marks=("RANK", "TORCHELASTIC_RUN_ID"), innermost=True),
        "deepspeed": replace(BY_HAND, marks=("RANK", "CROSS_RANK"), innermost=True),
        "OpenMPI": Launcher(
            marks=("OMPI_COMM_WORLD_RANK",),
            rank="OMPI_COMM_WORLD_RANK",
            world_size=("OMPI_COMM_WORLD_SIZE",),
            local_rank=("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
            local_world_size=("OMPI_COMM_WORLD_LOCAL_SIZE",),
            mpi=True,
            shown="mpirun (OpenMPI)",
        ),
        "MPICH": Launcher(
            marks=("PMI_RANK", "MPI_LOCALRANKID"),
            rank="PMI_RANK",
            world_size=("PMI_SIZE",),
            local_rank=("LOCAL_RANK", "MPI_LOCALRANKID"),
            local_world_size=("MPI_LOCALNRANKS",),
            mpi=True,
            shown="mpirun (MPICH)",
        ),
        # a batch script has SLURM_PROCID too, but is no task of a step: only srun sets the step's
        # node list
        "SLURM": Launcher(
            marks=("SLURM_PROCID", "SLURM_STEP_NODELIST"),
            rank="SLURM_PROCID",
            world_size=("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
            local_rank=("LOCAL_RANK", "SLURM_LOCALID"),
            ranks_of_node=slurm_ranks_of_node,
            master=slurm_master,
            shown="srun",
        ),
    },
)


def launcher_of(environ: Environment) -> str | None:
    """The launcher that started the process with this environment; None without one.

    Launchers of other packages take precedence over those that are built in.
    """
    own = LAUNCHERS.names.built_in
    for name in (*(name for name in LAUNCHERS if name not in own), *own):
        if all(mark in environ for mark in LAUNCHERS[name].marks):
            return name
    return None


def ranks_of_node(launcher: Launcher, environ: Environment) -> int:
    """Number of ranks on this node; 1 if unknown."""
    if launcher.ranks_of_node is not None:
        return launcher.ranks_of_node(environ)
    known = any(name in environ for name in launcher.local_world_size)
    return number(launcher.local_world_size, environ) if known else 1


def master_port(environ: Environment) -> int | None:
    """MASTER_PORT; None where it is not set.

    Raises:
        ConfigError: it is not a whole number.
    """
    return number(("MASTER_PORT",), environ) if environ.get("MASTER_PORT") else None


def master_of(launcher: Launcher, environ: Environment) -> tuple[str | None, int | None]:
    """The address and port where rank 0 listens; None for what it has to broadcast.

    Raises:
        ConfigError: no variable gives one of them, and there is no MPI to broadcast it.
    """
    address, port = environ.get("MASTER_ADDR"), master_port(environ)
    if launcher.master is not None and not (address and port):
        known = launcher.master(environ)
        return address or known[0], port or known[1]
    if not address and not launcher.mpi:
        raise ConfigError("MASTER_ADDR", None, "be the address of rank 0 where RANK is set")
    if port is None and not launcher.mpi:
        raise ConfigError("MASTER_PORT", None, "be a free port of rank 0 where RANK is set")
    return address or None, port


def launched_by(environ: Environment) -> Placement:
    """The placement of the process with this environment; without a launcher it is alone.

    torchrun and deepspeed take precedence over mpirun, and mpirun over srun, as the latter may
    start the former. RANK by itself has to agree with mpirun or srun where one of them started
    the process.

    Raises:
        ConfigError: settings that contradict each other, or that make no sense.
    """
    name = launcher_of(environ)
    if name is None and "RANK" not in environ:
        return alone(environ)
    launcher = BY_HAND if name is None else LAUNCHERS[name]
    if name is not None and not launcher.innermost and "RANK" in environ:
        check_agreement(name, launcher, environ)
    address, port = master_of(launcher, environ)
    placement = Placement(
        launcher=name or "RANK",
        rank=number((launcher.rank,), environ),
        world_size=number(launcher.world_size, environ),
        local_rank=number(launcher.local_rank, environ),
        local_world_size=ranks_of_node(launcher, environ),
        master_addr=address,
        master_port=port,
    )
    if not 0 <= placement.rank < placement.world_size:
        requirement = (
            f"lie below {first_set(launcher.world_size, environ)} = {placement.world_size}"
        )
        raise ConfigError(launcher.rank, placement.rank, requirement)
    return placement


def alone(environ: Environment) -> Placement:
    """The placement of a process without a launcher, which is the only rank."""
    return Placement(
        launcher="no launcher",
        rank=0,
        world_size=1,
        local_rank=0,
        local_world_size=1,
        master_addr="127.0.0.1",
        master_port=master_port(environ),
    )


def check_agreement(name: str, launcher: Launcher, environ: Environment) -> None:
    """Raise unless RANK and WORLD_SIZE agree with the launcher.

    Raises:
        ConfigError: they do not; the message names both variables.
    """
    for mine, names in (("RANK", (launcher.rank,)), ("WORLD_SIZE", launcher.world_size)):
        expected = number(names, environ)
        if mine in environ and number((mine,), environ) != expected:
            requirement = f"agree with {first_set(names, environ)} = {expected} of {name}; unset it"
            raise ConfigError(mine, environ[mine], requirement)
