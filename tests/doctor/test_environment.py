"""What .deepspeed_env holds, read back by DeepSpeed's own rules."""

import pytest

from alignmlm.doctor.environment import (
    forgotten,
    on_nodes,
    read_environment,
    wanted,
    write_environment,
)
from alignmlm.doctor.machine import extensions_folder
from alignmlm.errors import ConfigError, DataError

SHELL = {
    "ALIGNMLM_DATA": "/data/a b", "HF_HOME": "/hf", "HF_TOKEN": "hf_x", "PATH": "/bin",
    "WANDB_API_KEY": "k", "NCCL_DEBUG": "WARN", "TORCH_EXTENSIONS_DIR": "/tmp/e", "OTHER": "x",
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_file_has_what_ours_needs_and_no_secrets(tmp_path):
    path, variables = write_environment(tmp_path, SHELL)
    assert path == tmp_path / ".deepspeed_env"
    assert variables.keys() == {"ALIGNMLM_DATA", "HF_HOME", "NCCL_DEBUG", "TORCH_EXTENSIONS_DIR"}
    assert read_environment(tmp_path, {}) == variables
    assert all("=" in line for line in path.read_text().splitlines())


def test_a_shell_without_such_variables_leaves_no_file(tmp_path):
    write_environment(tmp_path, SHELL)
    write_environment(tmp_path, {"PATH": "/bin"})
    assert not (tmp_path / ".deepspeed_env").exists()


@pytest.mark.parametrize("value", ['a"; id; "', "$(id)", "`id`", "a\nB=c", "a\\", "!!"])
def test_a_value_that_a_shell_would_execute_is_refused(value):
    with pytest.raises(ConfigError, match="ALIGNMLM_DATA"):
        wanted({"ALIGNMLM_DATA": value})


@pytest.mark.parametrize("line", ["", "# comment", "no sign", "two words=x"])
def test_a_line_that_deepspeed_cannot_read_is_refused_with_its_place(tmp_path, line):
    (tmp_path / ".deepspeed_env").write_text(f"A=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"\.deepspeed_env:2"):
        read_environment(tmp_path, {})


def test_what_the_nodes_will_lack_is_named(tmp_path):
    assert "HF_HOME" in forgotten(tmp_path, SHELL)
    assert "NCCL_DEBUG" not in forgotten(tmp_path, SHELL)
    write_environment(tmp_path, SHELL)
    assert forgotten(tmp_path, SHELL) == []


def test_nodes_find_the_working_folder_first_on_their_path(tmp_path):
    given = on_nodes(tmp_path, SHELL | {"PYTHONPATH": "/lib"})
    assert given["PYTHONPATH"] == f"{tmp_path}:/lib"
    assert "OTHER" not in given


def test_a_proxy_with_a_password_is_a_secret():
    proxies = {"http_proxy": "http://proxy:8080", "https_proxy": "http://user:pass@proxy:8080"}
    assert wanted(proxies).keys() == {"http_proxy"}


def test_lines_of_the_user_stay_in_the_file(tmp_path):
    path = tmp_path / ".deepspeed_env"
    path.write_text("UCX_NET_DEVICES=mlx5_0\nHF_HOME=/old\n\n# comment\nMINE=a=b\n")
    write_environment(tmp_path, SHELL)
    found = read_environment(tmp_path, {})
    assert (found["UCX_NET_DEVICES"], found["MINE"], found["HF_HOME"]) == ("mlx5_0", "a=b", "/hf")
    write_environment(tmp_path, {"PATH": "/bin"})
    assert read_environment(tmp_path, {}) == {"UCX_NET_DEVICES": "mlx5_0", "MINE": "a=b"}


def test_a_file_that_is_not_utf_8_is_an_error_with_its_place(tmp_path):
    (tmp_path / ".deepspeed_env").write_bytes(b"HF_HOME=caf\xe9\n")
    for read in (read_environment, write_environment):
        with pytest.raises(DataError, match=r"\.deepspeed_env:1"):
            read(tmp_path, SHELL)


def test_a_user_without_a_home_has_no_file_there(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 2)
    assert read_environment(tmp_path, {}) == {}
    assert extensions_folder().name == "torch_extensions"
