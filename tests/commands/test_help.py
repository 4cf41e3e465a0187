"""Help, completion and exit codes of every command."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import get_completion_class

from alignmlm import cli
from alignmlm.commands.reference import setting_rows, settings_markdown
from alignmlm.errors import ConfigError, ExitCode
from tests.limits import HANG_S

ROOT = Path(__file__).parents[2]
GROUPS = [name for name in cli.GROUPS if name]
HELPS = """
import contextlib, io, sys
from alignmlm import cli
for name in ["", *cli.GROUPS, *cli.COMMANDS]:
    with contextlib.redirect_stdout(io.StringIO()):
        cli.dispatch([*name.split(), "--help"])
print(sorted({"torch", "numba", "transformers", "deepspeed", "numpy"} & sys.modules.keys()))
"""


def helped(capsys, *words: str) -> str:
    """The help of a command or group."""
    assert cli.guarded(cli.dispatch, list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


def test_no_help_imports_a_heavy_library():
    done = subprocess.run(
        [sys.executable, "-c", HELPS], capture_output=True, text=True, timeout=HANG_S, check=True
    )
    assert done.stdout == "[]\n"


def test_train_py_has_the_help_of_train(capsys):
    done = subprocess.run(
        [sys.executable, "train.py", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=True,
    )  # fmt: skip
    assert "Usage: train.py [OPTIONS]" in done.stdout
    assert "Optimizer steps of the whole run" in " ".join(done.stdout.split())


def test_a_default_of_several_settings_is_shown_by_those_that_were_set(capsys):
    shown = helped(capsys, "train", "--help")
    assert '"files": ["sample:40000"]}])' in shown
    assert "null}" not in shown


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_commands_and_groups(capsys, words):
    shown = helped(capsys, *words)
    assert all(f" {name.split()[0]} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_a_group_prints_its_commands_each_with_a_line(capsys, group, words):
    shown = helped(capsys, group, *words)
    assert f"Usage: alignmlm {group} " in shown
    for name in cli.COMMANDS:
        if name.startswith(f"{group} "):
            assert f"{name.split()[1]} {cli.summary(name)}" in shown


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_and_its_options(capsys, name):
    shown = helped(capsys, *name.split(), "--help")
    assert f"Usage: alignmlm {name} " in shown
    assert cli.summary(name).split(",")[0] in shown
    options = [each for each in cli.load_command(name).params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []
    if name != "completion":
        assert "--json" in shown


def test_train_takes_what_the_launcher_of_deepspeed_adds():
    words = ["--local_rank=1", "--deepspeed", "ds_configs/zero2.json", "--train.steps=many"]
    with pytest.raises(ConfigError, match="an integer"):
        cli.load_command("train")(words)


def test_settings_stand_in_groups_with_their_explanations(capsys):
    shown = helped(capsys, "train", "--help")
    assert "train: Lengths and sizes of the run: --train.steps VALUE Optimizer steps" in shown
    for row in setting_rows():
        if not row["setting"].startswith("evaluation."):
            assert f"--{row['setting']} VALUE" in shown


def test_the_reference_page_is_what_the_command_prints(capsys):
    assert cli.guarded(cli.dispatch, ["settings"]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip() == settings_markdown()
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    assert page.endswith(printed), "make docs writes it anew"
    assert "<" not in re.sub("`[^`]*`", "", printed), "Markdown would take it for HTML"
    assert cli.guarded(cli.dispatch, ["settings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == setting_rows()


def test_the_page_on_commands_lists_every_exit_code_and_no_other():
    rows = (ROOT / "docs/commands.md").read_text("utf-8").split("| exit code |")[1].split("\n\n")[0]
    listed = [line.split("|")[1].strip() for line in rows.splitlines()[2:]]
    assert listed == [str(int(code)) for code in ExitCode]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "show", "--rwos=3"], "option = '--rwos=3'"),
        (["data", "show", "--rwos=3"], "did you mean '--rows'?"),
        (["eval", "run", "--model=a", "--evaluation.lmit=3"], "mean 'evaluation.limit'?"),
        (["launch", "evaluate", "--models=.", "--tasks=pos", "--evaluation.lmit=3"], "limit'?"),
        (["launch", "evaluate", "--models=.", "--tasks=ewt_po"], "did you mean 'ewt_pos'"),
        (["--vresion"], "did you mean '--version'?"),
        (["eval", "run"], "Missing option '--model'; see `alignmlm eval run --help`"),
        (["export", "a", "b", "c"], "unexpected extra argument (c)"),
        (["export", "a", "b", "--step=x"], "--step = 'x', but it must be an integer"),
        (["eval", "compare", "a", "b", "--measures", "bs", "dleta"], "be one of ['bs', 'bz',"),
        (["completion", "csh"], "shell = 'csh'"),
        (["--version=1"], "'--version' does not take a value"),
        (["eval", "--help=1"], "'--help' does not take a value"),
        (["data", "verify", "store", "--workers=0"], "--workers = 0, but it must be at least 1"),
        (["data", "verify", "store", "--config=a"], "left out where the store is named: store"),
        (["data", "show", "--rows=0"], "--rows = 0, but it must be at least 1"),
        (["data", "show", "--step=-1"], "--step = -1, but it must be at least 0"),
        (["data", "show", f"--step={2**62}"], "be less than 2**63 / "),
        (["data", "fetch", "/no/store"], "url = '/no/store', but it must be a URL"),
        (["data", "train-parser", "--train=a", "--dev=b", "--output=."], "not be a folder"),
        (["doctor", "--store=a", "--config=b"], "--config = 'b', but it must be left out"),
        (["eval", "map", "--model=a", "--output=b", "--pairs=-1"], "be at least 2"),
        (["launch", "study", "sample", "--at-once=0"], "--at-once = 0, but it must be at least 1"),
        (["probe", "a", "--all", "--output=a.png"], "name the JSON file"),
        (["probe", "a", "--output=/"], "--output = '/', but it must not be a folder"),
        (["report", "a", "--output=."], "--output = '.', but it must not be a folder"),
    ],
)
def test_what_is_wrong_on_a_command_line_is_one_line(capsys, words, message):
    assert cli.guarded(cli.dispatch, words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert (err.startswith("alignmlm: error: "), err.count("\n")) == (True, 1)


COMPLETED = [
    ("da", ["data"]),
    ("data fi", ["fit-order"]),
    ("train --train.st", ["--train.steps"]),
    ("train --objective.name dict", ["dict_mlm"]),
    ("train --run.wandb ", ["true", "false"]),
    ("eval run --evaluation.finetune.ep", ["--evaluation.finetune.epochs"]),
    ("completion z", ["zsh"]),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_commands_settings_and_choices_are_completed(shell, line, expected):
    *words, incomplete = line.split(" ")
    complete = get_completion_class(shell)(cli.Commands(""), {}, "alignmlm", "_ALIGNMLM_COMPLETE")
    assert [item.value for item in complete.get_completions(words, incomplete)] == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_alignmlm(capsys, shell):
    assert cli.guarded(cli.dispatch, ["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_ALIGNMLM_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=script, text=True, check=True, timeout=HANG_S)


def test_bash_completes_by_its_script(capsys, tmp_path):
    assert cli.guarded(cli.dispatch, ["completion", "bash"]) == 0
    script = capsys.readouterr().out
    program = tmp_path / "alignmlm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m alignmlm.cli "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    script += "COMP_WORDS=(alignmlm train --train.st)\nCOMP_CWORD=2\n"
    script += '_alignmlm_completion alignmlm\necho "${COMPREPLY[@]}"\n'
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "--norc"], input=script, env=environment, capture_output=True, text=True,
        timeout=HANG_S, check=True,
    )  # fmt: skip
    assert done.stdout == "--train.steps\n", done.stderr


def test_a_setting_for_a_command_without_settings_is_an_unknown_option():
    with pytest.raises(ConfigError, match=r"option = '--data.store=x', but it must be an option"):
        cli.dispatch(["data", "stats", "--data.store=x"])


@pytest.mark.parametrize("words", [(), ("eval",), ("--version",), ("eval", "--help")])
def test_what_nobody_reads_on_ends_without_a_traceback(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "alignmlm.cli", *words],
        cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")
