"""Which interface leads where, on this machine as it is."""

import logging
import os
import socket
import subprocess
import sys

import pytest

from alignmlm.errors import ConfigError, ExitCode
from alignmlm.ranks import distributed, network
from alignmlm.ranks.distributed import choose_interface, start_distributed, with_master
from alignmlm.ranks.placement import launched_by
from tests.limits import HANG_S


def test_loopback_has_an_address_but_leads_to_nobody():
    assert network.addresses()["lo"] == "127.0.0.1"
    assert network.interface_towards("127.0.0.1") != "lo"


def test_the_address_towards_this_machine_is_its_own():
    assert network.own_address("127.0.0.1") == "127.0.0.1"


def test_a_free_port_can_be_listened_at():
    with socket.socket() as listener:
        listener.bind(("", network.free_port()))


@pytest.fixture
def interface() -> str:
    name = network.interface_towards(network.OUTSIDE)
    if name is None:
        pytest.skip("NO NETWORK: this machine has loopback alone")
    return name


def test_a_host_name_of_loopback_makes_gloo_use_another_interface(monkeypatch, caplog, interface):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    monkeypatch.setattr(distributed, "host_address", lambda: "127.0.1.1")
    with caplog.at_level(logging.INFO, "alignmlm"):
        choose_interface(network.OUTSIDE)
    assert os.environ["GLOO_SOCKET_IFNAME"] == interface
    assert f"127.0.1.1; gloo uses {interface}" in caplog.text


def test_an_interface_that_the_user_chose_is_left_as_it_is(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    monkeypatch.setattr(distributed, "host_address", lambda: "127.0.1.1")
    choose_interface(network.OUTSIDE)
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"


def test_a_process_that_is_alone_needs_no_mpi_to_find_itself():
    single = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"}
    place = with_master(launched_by(single | {"OMPI_COMM_WORLD_LOCAL_RANK": "0"}))
    assert place.master_addr == "127.0.0.1"
    assert place.master_port is not None


def test_a_process_that_is_alone_listens_at_no_port_that_another_could_be_given():
    code = (
        "import os, socket, torch\n"
        "from alignmlm.ranks.distributed import start_distributed\n"
        "print(start_distributed())\n"
        "socket.create_server(('', int(os.environ['MASTER_PORT']))).close()\n"
        "one = torch.ones(1)\n"
        "torch.distributed.all_reduce(one)\n"
        "print(one.item())\n"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.stdout.splitlines() == ["(0, 1)", "1.0"], done.stderr


def test_a_contradiction_is_told_with_its_host_as_other_ranks_may_not_have_it(monkeypatch):
    step = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "node[1-2]"}
    for name in ("CROSS_RANK", "TORCHELASTIC_RUN_ID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (step | {"RANK": "1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"RANK = '1'.*SLURM_PROCID = 0") as raised:
        start_distributed()
    assert raised.value.__notes__ == [f"host {socket.gethostname()}"]


@pytest.mark.dist
def test_a_port_that_another_run_listens_at_is_named(tmp_path):
    with socket.create_server(("", 0)) as other:
        port = str(other.getsockname()[1])
        ranks = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "CROSS_RANK": "0"}
        line = [sys.executable, "train.py", f"--run.dir={tmp_path / 'run'}"]
        environment = {**os.environ, **ranks, **place, "CROSS_SIZE": "1", "DS_ACCELERATOR": "cpu"}
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == ExitCode.ERROR
    message = done.stderr.splitlines()
    assert message[0].startswith(f"alignmlm: error on host {socket.gethostname()}: MASTER_PORT")
    assert f"MASTER_PORT = {port}, but it must be a free port" in message[0]
    assert "Traceback" not in done.stderr
