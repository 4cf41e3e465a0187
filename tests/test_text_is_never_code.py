"""Hostile files and arguments, each run beside a plain twin in a process that records what it does.

The twin has a harmless mistake at the same place, so whatever its command imports is loaded when
the hostile one runs; that one must import nothing, start nothing and name the key.
"""

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CANARY = "from pathlib import Path\nPath('PWNED').write_text('imported')\nclass Touch: pass\n"
POPEN = '{class_path: subprocess.Popen, init_args: {args: "touch PWNED", shell: true}}'
TOUCH = "{class_path: canary.Touch}"
APPLY = "!!python/object/apply:os.system ['touch PWNED']"


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch PWNED",)


@dataclass(frozen=True)
class Case:
    """A command with a file, or with a value on its line, that tries to run code."""

    command: str  # {file}, {folder} and {value} are put in
    hostile: str | bytes
    plain: str
    message: str  # of the hostile one
    file: str = ""  # its name; none: {value} is the text


STUDY = "name: evil\nfolder: out\n"
TASK = "name: t\nversion: 1\nkind: pair_classification\nmetric: accuracy\nform: pair_table\n"
LAUNCH, TRAIN = "launch study --dry-run {file}", "train --config {file}"
TASKS = "eval validate {file}"


def study(hostile: str, plain: str, message: str) -> Case:
    return Case(LAUNCH, STUDY + hostile, STUDY + plain, message, "study.yaml")


def recipe(hostile: str, message: str) -> Case:
    return Case(TRAIN, hostile, "train: {steps: many}", message, "recipe.yaml")


def task(hostile: str, message: str) -> Case:
    return Case(TASKS, hostile, TASK, message, "task.yaml")


def argument(hostile: str, message: str) -> Case:
    return Case("train {value}", hostile, "--train.steps=many", message)


def evaluation(hostile: str, message: str) -> Case:
    command = "eval run --model nowhere {value}"
    return Case(command, hostile, "--evaluation.limit=many", message)


def results(hostile: str | bytes, message: str) -> Case:
    command = "eval compare {file} {file}"
    return Case(command, hostile, '{"schema_version": 0}', message, "results.json")


def policy(hostile: str, message: str) -> Case:
    command = "launch pretrain --dry-run --launchers {launchers} --deepspeed {file}"
    return Case(command, hostile, '{"no_such_key": 1}', message, "zero.json")


LAUGHS = "a: &a [lol, lol]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(20)
)
OBJECTIVE = "objectives: [mlm]\n"
CASES = {
    "study overrides": study(
        f"{OBJECTIVE}overrides: {{train.steps: {POPEN}}}",
        f"{OBJECTIVE}overrides: {{train.steps: many}}",
        r"study\.overrides: train\.steps = \{'class_path': 'subprocess\.Popen'.*an integer",
    ),
    "study variants": study(
        f"variants: {{a: {{objective.name: mlm, model.start: {TOUCH}}}}}",
        "variants: {a: {objective.name: 3}}",
        r"study\.variants\.a: model\.start = \{'class_path': 'canary\.Touch'\}.*text or null",
    ),
    "study evaluation": study(
        f"{OBJECTIVE}evaluation: {{finetune: {TOUCH}}}",
        f"{OBJECTIVE}evaluation: {{finetune: 3}}",
        r"study\.yaml: setting = 'evaluation\.finetune\.class_path'",
    ),
    "study as a class": study(
        "class_path: canary.Touch", "x: 1", r"study\.yaml: setting = 'class_path'"
    ),
    "study tag": study(
        f"{OBJECTIVE}overrides: {APPLY}", "overrides: 3", r"study\.yaml:4: tag = .*os\.system"
    ),
    "study seeds tag": study(
        f"{OBJECTIVE}seeds: [!!python/name:canary.Touch '']", "seeds: 3", r"study\.yaml:4: tag = "
    ),
    "study override of a list": study(
        f"{OBJECTIVE}overrides: {{data.sources: [{TOUCH}]}}",
        f"{OBJECTIVE}overrides: {{data.sources: 3}}",
        r"setting = 'data\.sources\[0\]\.class_path'",
    ),
    "recipe sources": recipe(
        f"data: {{sources: [{TOUCH}]}}", r"recipe\.yaml: setting = 'data\.sources\[0\]\.class_path'"
    ),
    "recipe section": recipe(f"model: {TOUCH}", r"recipe\.yaml: setting = 'model\.class_path'"),
    "recipe value": recipe(f"run: {{name: {POPEN}}}", r"recipe\.yaml: run\.name = .* be text"),
    "recipe tag": recipe(f"train: {APPLY}", r"recipe\.yaml:1: tag = "),
    "recipe include": recipe(f"include: {TOUCH}", r"recipe\.yaml: include = .*class_path"),
    "recipe variable": recipe("run: {name: $PATH}", r"recipe\.yaml: run\.name = '\$PATH'"),
    "recipe interpolation": recipe(
        "run: {name: '${oc.env:PATH}'}", r"recipe\.yaml: run\.name = '\$\{oc\.env:PATH\}'"
    ),
    "recipe aliases": recipe(LAUGHS, r"recipe\.yaml:1: anchor = '&a'"),
    "recipe twice": recipe("train: {steps: 1}\ntrain: 2", r"recipe\.yaml:2: key = 'train'.*line 1"),
    "task tag": task(f"{TASK}files: {APPLY}", r"task\.yaml:6: tag = "),
    "task kind": task(
        TASK.replace("pair_classification", TOUCH), r"task\.yaml: task t: kind = .*class_path"
    ),
    "task split": task(
        f"{TASK}language: eng-Latn\nfiles: {{test: {{path: x, class_path: canary.Touch}}}}",
        r"files: test: setting = 'class_path'",
    ),
    "task key": task(f"{TASK}class_path: canary.Touch", r"task t: setting = 'class_path'"),
    "argument value": argument(
        '--train.steps={"class_path":"canary.Touch"}', r"train\.steps = \{'class_path'"
    ),
    "argument class": argument(
        "--train.steps.class_path=canary.Touch", r"setting = 'train\.steps\.class_path'"
    ),
    "argument section": argument("--data.class_path=canary.Touch", r"'data\.class_path'"),
    "argument sources": argument(
        '--data.sources=[{"class_path":"canary.Touch"}]', r"'data\.sources\[0\]\.class_path'"
    ),
    "argument tag": argument(
        "--train.steps=!!python/name:canary.Touch", r"command line: train\.steps:1: tag = "
    ),
    "argument file": argument("--data=canary.yaml", r"--data=canary\.yaml"),
    "argument configs": argument("--config=a.yaml --config=b.yaml", r"--config = .* one recipe"),
    "evaluation value": evaluation(
        '--evaluation.limit={"class_path":"canary.Touch"}', r"evaluation\.limit = \{'class_path'"
    ),
    "evaluation class": evaluation(
        "--evaluation.finetune.class_path=canary.Touch", r"'evaluation\.finetune\.class_path'"
    ),
    "results": results(
        '{"schema_version": {"class_path": "canary.Touch"}}', r"results\.json.*schema"
    ),
    "results twice": results(
        '{"schema_version": 1, "schema_version": 2}', r"results\.json: key = 'schema_version'"
    ),
    "results pickle": results(pickle.dumps(Payload()), r"results\.json:1 = .* be UTF-8"),
    "manifest": Case(
        "data verify {folder}",
        '{"schema_version": {"class_path": "canary.Touch"}}',
        '{"schema_version": 0}',
        r"manifest\.json",
        "manifest.json",
    ),
    "manifest pickle": Case(
        "data verify {folder}",
        pickle.dumps(Payload()),
        "{}",
        r"manifest\.json.*(?i:utf-8)",
        "manifest.json",
    ),
    "study.json": Case(
        "report {folder}",
        '{"name": {"class_path": "canary.Touch"}}',
        "{}",
        r"study\.json",
        "study.json",
    ),
    "ds_config autocast": policy(
        '{"torch_autocast": {"lower_precision_safe_modules": ["canary.Touch"]}}',
        r"zero\.json: torch_autocast = ",
    ),
    "ds_config class": policy('{"class_path": "canary.Touch"}', r"zero\.json: class_path = "),
    "ds_config nested": policy('{"aio": {"class_path": "canary.Touch"}}', r"aio\.class_path"),
    "run's recipe": Case(
        "export {folder} out", f"train: {APPLY}", "train: 3", r"recipe\.yaml:1: tag", "recipe.yaml"
    ),
    "hostfile": Case(
        "doctor --nodes {file}",
        "node1;touch${IFS}PWNED slots=1",
        "node1 slots=x",
        r"hostfile:1 = 'node1;touch",
        "hostfile",
    ),
    "hostfile option": Case(
        "doctor --nodes {file}",
        "-oProxyCommand=touch${IFS}PWNED slots=1",
        "node1 slots=x",
        r"hostfile:1 = '-oProxyCommand",
        "hostfile",
    ),
}


def command_line(case: Case, text: str | bytes, folder: Path) -> list[str]:
    """The words of a case's command; its file is written."""
    values = {"folder": str(folder), "file": str(folder / case.file), "value": str(text)}
    values["launchers"] = str(Path("launchers").resolve())
    if case.file:
        folder.mkdir(parents=True)
        (folder / case.file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        part
        for word in case.command.split()
        for part in (values["value"].split() if word == "{value}" else [word.format(**values)])
    ]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "canary.py").write_text(CANARY)
    return folder


@pytest.fixture(scope="module")
def records(workshop) -> dict[str, dict]:
    """What each hostile command did, in one process where each twin ran first."""
    kinds = {"plain": [], "hostile": []}
    for number, case in enumerate(CASES.values()):
        for kind, lines in kinds.items():
            lines.append(command_line(case, getattr(case, kind), workshop / f"{number}-{kind}"))
    script, path = Path(__file__).with_name("audited_commands.py"), os.environ.get("PYTHONPATH", "")
    process = subprocess.run(
        [sys.executable, script],
        input=json.dumps(kinds["plain"] + kinds["hostile"]),
        capture_output=True,
        text=True,
        cwd=workshop,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, path, str(workshop)])},
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    plain, hostile = found[: len(CASES)], found[len(CASES) :]
    assert {record["code"] for record in plain} == {2}, plain
    return dict(zip(CASES, hostile, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_hostile_text_is_refused_by_name_and_nothing_is_imported_or_started(name, records):
    record = records[name]
    assert record["code"] == 2, record
    assert re.search(CASES[name].message, record["text"]), record["text"]
    assert record["events"] == record["modules"] == []


def test_nothing_hostile_left_a_trace(records, workshop):
    assert not (workshop / "PWNED").exists()


def test_the_recorder_sees_imports_and_processes(workshop):
    code = (
        "import audited_commands as a, sys, subprocess; sys.addaudithook(a.audit); import canary;"
        "subprocess.run(['true']); print(a.events)"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(workshop)])
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=workshop,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    (workshop / "PWNED").unlink()
    assert "import canary" in process.stdout and "subprocess.Popen" in process.stdout
