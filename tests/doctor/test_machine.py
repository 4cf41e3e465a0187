"""What the doctor says about this machine, and about broken ones."""

import json
import os
import shutil
import time
from pathlib import Path

import alignmlm_kernels
import pytest

from alignmlm.commands.doctor import doctor_command
from alignmlm.doctor import machine
from alignmlm.doctor.hostfile import Host
from alignmlm.doctor.nodes import diagnose, link_watch
from alignmlm.doctor.report import Check, Diagnosis, Report, compared, parse_report
from alignmlm.errors import ConfigError


def test_this_machine_is_described_with_its_store(small_store, capfd):
    code = doctor_command(["--json", f"--store={small_store}"])
    found = json.loads(capfd.readouterr().out)
    (report,) = found["reports"]
    checks = {check["name"]: check for check in report["checks"]}
    assert code == (2 if found["worst"] == "problem" else 0)
    assert {"python", "torch", "deepspeed", "device", "network", "free disk"} <= checks.keys()
    assert checks["deepspeed"]["state"] == "ok"
    assert len(checks["data store"]["found"]) == 16


def test_the_table_says_what_to_do(capfd, tmp_path):
    assert doctor_command([f"--store={tmp_path}"]) == 2
    told = " ".join(capfd.readouterr().out.split())
    assert "doctor: problem" in told
    assert "data store: build or copy it to" in told


def test_a_lock_that_is_old_is_a_problem_and_a_new_one_a_warning(tmp_path):
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    assert machine.extension_locks(tmp_path).state == "ok"
    lock.touch()
    assert machine.extension_locks(tmp_path).state == "warning"
    long_ago = time.time() - 2 * machine.BUILDING_S
    os.utime(lock, (long_ago, long_ago))
    found = machine.extension_locks(tmp_path)
    assert (found.state, found.remedy) == ("problem", f"remove {lock}")


def test_an_interface_that_is_not_there_is_a_problem(monkeypatch):
    if machine.interface_towards(machine.OUTSIDE) is None:
        pytest.skip("NO NETWORK: this machine has loopback alone")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth99")
    assert machine.network().state == "problem"


def test_a_library_that_is_missing_is_a_problem():
    assert machine.library("no-such-library").state == "problem"


def test_a_disk_with_room_is_ok(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "FEW_GIB", 0)
    monkeypatch.setattr(machine, "TOO_FEW_GIB", 0)
    assert machine.disk(tmp_path).state == "ok"
    monkeypatch.setattr(machine, "TOO_FEW_GIB", 1e9)
    assert machine.disk(tmp_path).state == "problem"


def test_a_node_with_another_version_differs_from_here():
    here = Report("here", [Check("torch", "ok", "2.13.0"), Check("device", "ok", "CPU")])
    node = Report("node1", [Check("torch", "ok", "2.12.0"), Check("device", "ok", "GPU")])
    found = compared(node, here)
    assert [check.state for check in found.checks] == ["problem", "ok"]
    assert found.checks[0].remedy == "make it what it is on here: 2.13.0"


def test_a_report_comes_back_from_json_whatever_stands_before_it():
    report = Report("node1", [Check("torch", "ok", "2.13.0")], "10.0.0.1", 8)
    assert parse_report("Welcome!\n" + json.dumps(Diagnosis([report]).to_json())) == report


@pytest.mark.parametrize("text", ["", "{", '{"reports": []}', '{"reports": [{"host": "a"}]}'])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ValueError, match="no report"):
        parse_report(text)


def test_a_hostfile_with_commands_in_it_is_refused_and_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ("node1;touch${IFS}owned slots=1", "-oProxyCommand=touch${IFS}owned slots=1"):
        (tmp_path / "hostfile").write_text(line + "\n")
        with pytest.raises(ConfigError, match="hostfile:1"):
            doctor_command(["--nodes", "hostfile", "--write-env"])
    assert [path.name for path in tmp_path.iterdir()] == ["hostfile"]


def test_the_nodes_file_of_variables_needs_nodes():
    with pytest.raises(ConfigError, match="--write-env"):
        doctor_command(["--write-env"])


def test_code_of_the_kernels_is_part_of_the_source(tmp_path, monkeypatch):
    before = machine.source_id()
    kernels = tmp_path / "alignmlm_kernels"
    shutil.copytree(Path(alignmlm_kernels.__file__).parent, kernels)
    monkeypatch.setattr(alignmlm_kernels, "__file__", str(kernels / "__init__.py"))
    assert machine.source_id() == before
    (kernels / "__init__.py").write_text("")
    assert machine.source_id() != before


def test_a_machine_without_ssh_is_told_that_ssh_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    here = Report("here", [], "10.0.0.1")
    found = diagnose([Host("node1", 1)], here, None, {})
    (ssh,) = found.reports[1].checks
    assert (ssh.state, ssh.found) == ("problem", "there is no ssh here")
    watch = next(check for check in found.checks if check.name == "link watch")
    assert (watch.state, watch.found) == ("warning", "there is no ssh here")


def test_a_quote_that_is_not_closed_in_the_arguments_of_ssh_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "ssh").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PDSH_SSH_ARGS_APPEND", '-o "ServerAliveInterval=10')
    found = link_watch(Host("node1", 1))
    assert (found.state, found.found) == ("problem", "No closing quotation")


@pytest.mark.parametrize(
    ("compiler", "state"), [("gcc", "ok"), ("clang", "ok"), ("tcc", "problem")]
)
def test_triton_takes_either_compiler(monkeypatch, tmp_path, compiler, state):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(machine, "import_module", lambda name: None)
    monkeypatch.setattr(machine, "library", lambda name: Check(name, "ok", "1"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / compiler).touch(0o755)
    assert machine.triton().state == state
