"""This process's place among the ranks, read from its launcher's variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from alignmlm.errors import ConfigError


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


@dataclass(frozen=True, slots=True)
class Launcher:
    """The variables in which a launcher gives a process its place; the first one set counts.

    `marks` are set in every process that it starts, and in no other.
    """

    name: str
    marks: tuple[str, ...]
    rank: str
    world_size: tuple[str, ...]
    local_rank: tuple[str, ...]
    local_world_size: tuple[str, ...]


BY_HAND = Launcher(
    "RANK", ("RANK",), "RANK", ("WORLD_SIZE",), ("LOCAL_RANK",), ("LOCAL_WORLD_SIZE", "LOCAL_SIZE")
)
OPENMPI = Launcher(
    "OpenMPI",
    ("OMPI_COMM_WORLD_RANK",),
    "OMPI_COMM_WORLD_RANK",
    ("OMPI_COMM_WORLD_SIZE",),
    ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("OMPI_COMM_WORLD_LOCAL_SIZE",),
)
MPICH = Launcher(
    "MPICH",
    ("PMI_RANK", "MPI_LOCALRANKID"),
    "PMI_RANK",
    ("PMI_SIZE",),
    ("LOCAL_RANK", "MPI_LOCALRANKID"),
    ("MPI_LOCALNRANKS",),
)
# a batch script has SLURM_PROCID too, but is no task of a step: only srun gives it a node list
SLURM = Launcher(
    "SLURM",
    ("SLURM_PROCID", "SLURM_STEP_NODELIST"),
    "SLURM_PROCID",
    ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
    ("LOCAL_RANK", "SLURM_LOCALID"),
    (),
)
# These start processes below an mpirun or srun of their own: what those tell is about themselves.
INNERMOST = (
    Launcher(
        "torchrun",
        ("RANK", "TORCHELASTIC_RUN_ID"),
        "RANK",
        ("WORLD_SIZE",),
        ("LOCAL_RANK",),
        ("LOCAL_WORLD_SIZE",),
    ),
    Launcher(
        "deepspeed",
        ("RANK", "CROSS_RANK"),
        "RANK",
        ("WORLD_SIZE",),
        ("LOCAL_RANK",),
        ("LOCAL_SIZE",),
    ),
)


def launched_by(environ: Mapping[str, str]) -> Placement:
    """The placement of the process of an environment; without a launcher it is alone.

    torchrun and deepspeed count before mpirun, and mpirun before srun, as each may start the
    other. RANK by itself has to agree with mpirun or srun where one of them started the process.

    Raises:
        ConfigError: settings that contradict each other, or that make no sense.
    """
    launcher = found_in((*INNERMOST, OPENMPI, MPICH, SLURM), environ)
    if launcher is None:
        launcher = BY_HAND if "RANK" in environ else None
    elif launcher not in INNERMOST and "RANK" in environ:
        check_agreement(launcher, environ)
    if launcher is None:
        return alone(environ)
    placement = Placement(
        launcher=launcher.name,
        rank=number((launcher.rank,), environ),
        world_size=number(launcher.world_size, environ),
        local_rank=number(launcher.local_rank, environ),
        local_world_size=ranks_of_node(launcher, environ),
        master_addr=master_address(launcher, environ),
        master_port=master_port(launcher, environ),
    )
    if not 0 <= placement.rank < placement.world_size:
        requirement = (
            f"lie below {first_set(launcher.world_size, environ)} = {placement.world_size}"
        )
        raise ConfigError(launcher.rank, placement.rank, requirement)
    return placement


def found_in(launchers: tuple[Launcher, ...], environ: Mapping[str, str]) -> Launcher | None:
    """The first of some launchers that started the process."""
    for launcher in launchers:
        if all(mark in environ for mark in launcher.marks):
            return launcher
    return None


def alone(environ: Mapping[str, str]) -> Placement:
    """The only rank there is."""
    port = number(("MASTER_PORT",), environ) if environ.get("MASTER_PORT") else None
    return Placement(
        launcher="no launcher",
        rank=0,
        world_size=1,
        local_rank=0,
        local_world_size=1,
        master_addr="127.0.0.1",
        master_port=port,
    )


def check_agreement(launcher: Launcher, environ: Mapping[str, str]) -> None:
    """Raise unless RANK and WORLD_SIZE agree with the launcher.

    Raises:
        ConfigError: they do not; the message names both variables.
    """
    for mine, names in (("RANK", (launcher.rank,)), ("WORLD_SIZE", launcher.world_size)):
        expected = number(names, environ)
        if mine in environ and number((mine,), environ) != expected:
            requirement = (
                f"agree with {first_set(names, environ)} = {expected} of {launcher.name}; unset it"
            )
            raise ConfigError(mine, environ[mine], requirement)


def first_set(names: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """The first of some variables that is set; where none is, the last."""
    return next((name for name in names if name in environ), names[-1])


def number(names: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """The value of the first variable that is set.

    Raises:
        ConfigError: none is, or it is no whole number.
    """
    name = first_set(names, environ)
    value = environ.get(name)
    if value is None or not re.fullmatch(r"\d+", value):
        raise ConfigError(name, value, "be set to a whole number by what starts the ranks")
    return int(value)


def ranks_of_node(launcher: Launcher, environ: Mapping[str, str]) -> int:
    """Number of ranks on this node; 1 if unknown."""
    if launcher is SLURM:
        counts = environ.get("SLURM_STEP_TASKS_PER_NODE") or environ.get("SLURM_TASKS_PER_NODE")
        return tasks_on_node(counts or "1", int(environ.get("SLURM_NODEID", "0")))
    names = [name for name in launcher.local_world_size if name in environ]
    return number((names[0],), environ) if names else 1


def tasks_on_node(counts: str, node: int) -> int:
    """The tasks of a node in SLURM's notation, where "2(x3),1" is 2, 2, 2 and 1."""
    every: list[int] = []
    for part in counts.split(","):
        count, _, times = part.removesuffix(")").partition("(x")
        every += [int(count)] * int(times or 1)
    return every[min(node, len(every) - 1)]


def first_host(nodelist: str) -> str:
    """The first host of SLURM's notation, where "node[01-03,7],head" begins with node01."""
    first = re.split(r",(?![^\[]*\])", nodelist)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def master_address(launcher: Launcher, environ: Mapping[str, str]) -> str | None:
    """Where rank 0 listens; none if rank 0 has to be asked.

    Raises:
        ConfigError: nobody says it, and there is no MPI to ask.
    """
    if address := environ.get("MASTER_ADDR"):
        return address
    if launcher is SLURM:
        return first_host(environ["SLURM_STEP_NODELIST"])
    if launcher in (OPENMPI, MPICH):
        return None
    raise ConfigError("MASTER_ADDR", None, "be the address of rank 0 where RANK is set")


def master_port(launcher: Launcher, environ: Mapping[str, str]) -> int | None:
    """The port that rank 0 listens on; none if rank 0 has to be asked.

    Raises:
        ConfigError: nobody says it, and there is no MPI to ask.
    """
    if environ.get("MASTER_PORT"):
        return number(("MASTER_PORT",), environ)
    if launcher is SLURM:
        return 20000 + number(("SLURM_JOB_ID",), environ) % 20000
    if launcher in (OPENMPI, MPICH):
        return None
    raise ConfigError("MASTER_PORT", None, "be a free port of rank 0 where RANK is set")
