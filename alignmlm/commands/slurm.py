"""Jobs for SLURM: the sbatch command, the record kept of it, and the job's number."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignmlm.artifacts.provenance import changes, checkout, code_record
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.storage.atomic import replace_text

SITE, SHARED = "env.sh", "job.sh"
SUBMISSION, PATCH = "submission.json", "code.diff"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What a job asks for; None leaves it to the script and the site."""

    nodes: int | None = None
    gpus: int | None = None  # of each node; one rank per GPU
    cpus: int | None = None  # of each rank
    time: str | None = None  # as in sbatch: minutes, or days-hours:minutes:seconds
    partition: str | None = None
    account: str | None = None
    sbatch: list[str] = field(default_factory=list)  # further options, as they are

    def __post_init__(self) -> None:
        for name in ("nodes", "gpus", "cpus"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ConfigError(f"--{name}", count, "be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmJob:
    """One submission: a batch script, its arguments and where its files go."""

    name: str
    script: Path
    arguments: list[str]
    folder: Path  # of what is kept of the submission
    log: str  # of the batch script, a name in that folder; %j is the job
    options: list[str] = field(default_factory=list)  # of sbatch, beyond the resources


def launcher_script(folder: Path, name: str) -> Path:
    """A batch script of the launchers.

    Raises:
        ConfigError: it is not there, or one of the files that it reads is not.
    """
    for each in (name, SITE, SHARED):
        if not (folder / each).is_file():
            requirement = f"be the launchers of a checkout; there is no {each}"
            raise ConfigError("--launchers", str(folder), requirement)
    return folder / name


def next_folder(parent: Path) -> Path:
    """The folder of the next submission: parent/1, then parent/2."""
    number = 1
    while (parent / str(number)).exists():
        number += 1
    return parent / str(number)


def rank_options(resources: Resources, elastic: bool) -> list[str]:
    """Sbatch options for ranks: one per GPU; elastic jobs have one torchrun per node instead."""
    gpus, cpus = resources.gpus or 1, resources.cpus
    tasks, cores = (1, cpus and cpus * gpus) if elastic else (gpus, cpus)
    return [
        f"--ntasks-per-node={tasks}",
        *([f"--cpus-per-task={cores}"] if cores else []),
        *(["--no-kill", "--export=ALL,ELASTIC=1"] if elastic else []),
    ]


def sbatch_command(job: SlurmJob, resources: Resources) -> list[str]:
    """The command line that submits a job."""
    asked = {
        "nodes": resources.nodes,
        "gpus-per-node": resources.gpus,
        "time": resources.time,
        "partition": resources.partition,
        "account": resources.account,
    }
    return [
        "sbatch",
        "--parsable",
        f"--job-name={job.name}",
        f"--output={str(job.folder).replace('%', '%%')}/{job.log}",
        *(f"--{name}={value}" for name, value in asked.items() if value is not None),
        *job.options,
        *resources.sbatch,
        str(job.script),
        *job.arguments,
    ]


def keep_submission(job: SlurmJob, command: Sequence[str], files: dict[str, str]) -> None:
    """Write what was submitted: command, scripts, commit, uncommitted changes, and `files`."""
    job.folder.mkdir(parents=True)
    for path in (job.script, job.script.parent / SITE, job.script.parent / SHARED):
        shutil.copy(path, job.folder / path.name)
    for name, text in files.items():
        replace_text(job.folder / name, text)
    root = checkout()
    if root and (patch := changes(root)):
        replace_text(job.folder / PATCH, patch)
    document = {"schema_version": 1, "sbatch": list(command), "code": code_record()}
    replace_text(job.folder / SUBMISSION, json.dumps(document, indent=1) + "\n")


def forget_submission(job: SlurmJob) -> None:
    """Remove what was kept of a job that SLURM did not take, and the folders made for it."""
    shutil.rmtree(job.folder)
    for parent in (job.folder.parent, job.folder.parent.parent):
        if any(parent.iterdir()):
            break
        parent.rmdir()


def submit(command: Sequence[str], launchers: Path) -> int:
    """Submit a job with the site's defaults; returns its number.

    Raises:
        AlignMLMError: there is no sbatch, or it prints no number; the message holds its output.
    """
    if shutil.which("sbatch") is None:
        raise AlignMLMError("there is no sbatch here; run this on a login node of the cluster")
    site = os.environ.get("ALIGNMLM_SITE") or str(launchers / SITE)
    script = '. "$0" && exec "$@"'
    environment = os.environ | {"ALIGNMLM_LAUNCHERS": str(launchers.absolute())}
    done = subprocess.run(
        ["bash", "-c", script, site, *command],
        env=environment, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    number = done.stdout.strip().rpartition("\n")[2].partition(";")[0]
    if done.returncode or not number.isdecimal():
        said = done.stderr.strip() or done.stdout.strip()
        raise AlignMLMError(f"{shlex.join(command)}\nsaid: {said}")
    return int(number)
