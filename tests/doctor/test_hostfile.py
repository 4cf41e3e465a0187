import pytest

from alignmlm.doctor.hostfile import Host, read_hostfile
from alignmlm.errors import ConfigError


def test_a_hostfile_is_read_in_order_and_comments_are_passed_over(tmp_path):
    file = tmp_path / "hostfile"
    file.write_text("# two nodes\nnode2 slots=8\n\nroot@10.77.0.1\tslots=4  # the old one\n")
    assert read_hostfile(file) == [Host("node2", 8), Host("root@10.77.0.1", 4)]


@pytest.mark.parametrize(
    "line",
    [
        "node1;touch${IFS}owned slots=1",
        "$(touch owned) slots=1",
        "`id` slots=1",
        "node1|id slots=1",
        "node1&& slots=1",
        "node1,node2 slots=1",
        "-oProxyCommand=id slots=1",
        "a@-oProxyCommand=id slots=1",
        "node[1-2] slots=1",
        "../node1 slots=1",
        "node1\u00a0x slots=1",
        "node1",
        "node1 slots=0",
        "node1 slots=-1",
        "node1 slots=two",
        "node1 slots=1;id",
        "node1 slots=99999",
        "node1 slots=1 max_slots=2",
    ],
)
def test_a_line_that_is_no_host_is_refused_with_its_place(tmp_path, line):
    file = tmp_path / "hostfile"
    file.write_text(f"node0 slots=1\n{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="hostfile:2 = "):
        read_hostfile(file)


def test_a_host_that_comes_twice_is_refused(tmp_path):
    file = tmp_path / "hostfile"
    file.write_text("node1 slots=1\nnode1 slots=2\n")
    with pytest.raises(ConfigError, match=r"hostfile:2 = .* not name node1 a second time"):
        read_hostfile(file)


@pytest.mark.parametrize("text", ["", "# nobody\n"])
def test_an_empty_hostfile_is_refused(tmp_path, text):
    (tmp_path / "hostfile").write_text(text)
    with pytest.raises(ConfigError, match="name at least one node"):
        read_hostfile(tmp_path / "hostfile")


def test_a_missing_hostfile_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="be a text file"):
        read_hostfile(tmp_path / "hostfile")


@pytest.mark.parametrize("name", ["node_1", "a.smith@node1", "Anna@10.0.0.1", "gpu-1.cluster.org"])
def test_names_that_ssh_takes_are_taken(tmp_path, name):
    (tmp_path / "hostfile").write_text(f"{name} slots=1\n")
    assert read_hostfile(tmp_path / "hostfile") == [Host(name, 1)]
