"""Every launcher's variables, and settings that contradict each other."""

import pytest

from alignmlm.errors import ConfigError
from alignmlm.ranks.placement import Placement, first_host, launched_by, tasks_on_node

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
DEEPSPEED = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_SIZE": "4", "CROSS_RANK": "1",
    "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29400",
}  # fmt: skip
OPENMPI = {
    "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}  # fmt: skip
MPICH = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}
SLURM = {
    "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "node[08-09]", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_JOB_ID": "123456",
}  # fmt: skip


def placed(launcher: str, address: str | None, port: int | None) -> Placement:
    return Placement(
        launcher=launcher, rank=5, world_size=8, local_rank=1, local_world_size=4,
        master_addr=address, master_port=port,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (TORCHRUN, placed("torchrun", "10.0.0.1", 29400)),
        (DEEPSPEED, placed("deepspeed", "10.0.0.1", 29400)),
        (OPENMPI, placed("OpenMPI", None, None)),
        (MPICH, placed("MPICH", None, None)),
        (SLURM, placed("SLURM", "node08", 20000 + 123456 % 20000)),
    ],
    ids=["torchrun", "deepspeed", "openmpi", "mpich", "slurm"],
)
def test_each_launcher_says_where_a_rank_stands(environ, expected):
    assert launched_by(environ) == expected


def test_without_a_launcher_a_process_is_alone():
    found = launched_by({"PATH": "/usr/bin"})
    assert (found.rank, found.world_size, found.master_addr) == (0, 1, "127.0.0.1")


def test_a_batch_script_of_slurm_is_no_task_of_a_step():
    batch = {k: v for k, v in SLURM.items() if not k.startswith("SLURM_STEP")}
    assert launched_by(batch | {"SLURM_PROCID": "0"}).world_size == 1


def test_a_master_that_the_user_names_counts_under_every_launcher():
    chosen = {"MASTER_ADDR": "head", "MASTER_PORT": "1234"}
    for environ in (OPENMPI, MPICH, SLURM):
        found = launched_by(environ | chosen)
        assert (found.master_addr, found.master_port) == ("head", 1234)


@pytest.mark.parametrize("inner", [TORCHRUN, DEEPSPEED], ids=["torchrun", "deepspeed"])
def test_srun_may_start_torchrun_and_deepspeed_whose_ranks_count(inner):
    found = launched_by(SLURM | {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"} | inner)
    assert (found.rank, found.world_size, found.local_world_size) == (5, 8, 4)


def test_mpirun_in_a_slurm_job_counts_before_the_step_of_its_daemons():
    found = launched_by(SLURM | {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"} | OPENMPI)
    assert (found.launcher, found.rank) == ("OpenMPI", 5)


@pytest.mark.parametrize(
    ("environ", "named"),
    [(OPENMPI, "OMPI_COMM_WORLD_RANK"), (MPICH, "PMI_RANK"), (SLURM, "SLURM_PROCID")],
    ids=["openmpi", "mpich", "slurm"],
)
def test_a_rank_that_contradicts_the_launcher_names_both(environ, named):
    with pytest.raises(ConfigError, match=rf"RANK = '1', but it must agree with {named} = 5"):
        launched_by(environ | {"RANK": "1"})


def test_a_world_size_that_contradicts_the_launcher_names_both():
    with pytest.raises(ConfigError, match=r"WORLD_SIZE = '2'.*SLURM_NTASKS = 8"):
        launched_by(SLURM | {"RANK": "5", "WORLD_SIZE": "2"})


def test_a_rank_that_agrees_with_the_launcher_is_no_contradiction():
    assert launched_by(SLURM | {"RANK": "5", "WORLD_SIZE": "8"}).rank == 5


@pytest.mark.parametrize("missing", ["WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_half_a_setting_is_an_error_that_names_the_other_half(missing):
    environ = {name: value for name, value in TORCHRUN.items() if name != missing}
    with pytest.raises(ConfigError, match=missing):
        launched_by(environ)


@pytest.mark.parametrize("rank", ["8", "-1", "one", ""])
def test_a_rank_outside_of_the_world_is_an_error(rank):
    with pytest.raises(ConfigError, match="RANK"):
        launched_by(TORCHRUN | {"RANK": rank})


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("node1", "node1"),
        ("node[1-2]", "node1"),
        ("node[007,012-128],head", "node007"),
        ("head,node[1-2]", "head"),
        ("rack[2-3]node[10-11]", "rack2node10"),
        ("a-b-[3,5]", "a-b-3"),
    ],
)
def test_the_first_host_of_a_node_list(nodelist, first):
    assert first_host(nodelist) == first


def test_the_tasks_of_each_node():
    assert [tasks_on_node("2(x3),1", node) for node in range(4)] == [2, 2, 2, 1]
