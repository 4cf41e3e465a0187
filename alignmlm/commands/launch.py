"""Commands that hand work to SLURM: launch pretrain, evaluate and study."""

import shlex
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from alignmlm.artifacts.names import LAUNCH, LOGS, RECIPE
from alignmlm.commands.options import PATH, WHOLE, AtLeast, Shipped, as_json, command, deepspeed
from alignmlm.commands.slurm import (
    Resources,
    SlurmJob,
    forget_submission,
    keep_submission,
    launcher_script,
    next_folder,
    rank_options,
    sbatch_command,
    submit,
)
from alignmlm.config import GIVEN, Several, recipe_options, setting_options
from alignmlm.console.terminal import print_json, print_line
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.pretraining.recipe import Recipe
from alignmlm.shipped import shipped_launchers
from alignmlm.storage.plain_yaml import yaml_text

POLICY = "deepspeed.json"
JOB_OPTIONS = (
    click.option("--nodes", type=WHOLE, help="Nodes."),
    click.option("--gpus", type=WHOLE, help="GPUs of each node; none: CPUs, one rank a node."),
    click.option("--cpus", type=WHOLE, help="CPUs of each rank."),
    click.option("--time", help="As in sbatch: minutes, or days-hours:minutes:seconds."),
    click.option("--partition", help="None: that of launchers/env.sh."),
    click.option("--account", help="None: that of launchers/env.sh."),
    click.option("--sbatch", multiple=True, metavar="OPTION", help="Another option of sbatch."),
    click.option("--launchers", type=PATH, default=shipped_launchers, metavar="FOLDER",
                 help="Folder of the batch scripts; none: launchers, or those of alignmlm."),
    click.option("--dry-run", is_flag=True, help="Print the job, submit nothing."),
    as_json,
)  # fmt: skip


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every job; the function is given them as `job`."""
    for option in reversed(JOB_OPTIONS):
        function = option(function)
    return function


class Submission:
    """What the command line asks of SLURM, and what came of it."""

    def __init__(self, launchers: Path, dry_run: bool, as_json: bool, **asked: Any) -> None:
        self.launchers, self.dry_run, self.as_json = launchers, dry_run, as_json
        self.resources = Resources(**asked | {"sbatch": list(asked["sbatch"])})
        self.commands: list[list[str]] = []
        self.jobs: list[int] = []
        self.lines: list[str] = []

    def hand_in(self, job: SlurmJob, files: dict[str, str]) -> int | None:
        """Submit a job and return its number; None after a dry run, which writes nothing."""
        command = sbatch_command(job, self.resources)
        if self.dry_run:
            self.commands.append(command)
            return None
        keep_submission(job, command, files)
        try:
            number = submit(command, self.launchers)
        except AlignMLMError:
            forget_submission(job)
            raise
        self.commands.append(command)
        self.jobs.append(number)
        folder = shlex.quote(str(job.folder))
        self.lines += [
            f"job {number} submitted; what was submitted is kept in {folder}",
            f"look at it:       squeue --job {number}",
        ]
        return number

    def show(self) -> None:
        """Print the jobs, or the commands of a dry run."""
        if self.as_json:
            print_json({"jobs": self.jobs, "commands": self.commands})
            return
        for line in [shlex.join(each) for each in self.commands] if self.dry_run else self.lines:
            print_line(line)


def read_file(key: str, path: Path) -> str:
    """The text of a file that the command line names.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(key, str(path), f"be a readable file ({error})") from error


@command("pretrain", *recipe_options())
@deepspeed
@click.option("--elastic", is_flag=True, help="Go on with the nodes that are left.")
@job_options
def launch_pretrain(recipe: Recipe, deepspeed: Path | None, elastic: bool, **job: Any) -> None:
    """Pre-train as a SLURM job that saves, requeues itself and resumes; settings as in train.py."""
    from alignmlm.pretraining.contents import numbers_of
    from alignmlm.pretraining.policy import read_policy
    from alignmlm.pretraining.run_folder import choose_folder

    asked = Submission(**job)
    run = Path(choose_folder(recipe.run, numbers_of(recipe), recipe.train.steps))
    recipe = replace(recipe, run=replace(recipe.run, dir=str(run)))
    folder = next_folder(run / LAUNCH)
    files = {RECIPE: yaml_text(asdict(recipe))}
    settings = [f"--config={folder / RECIPE}", f"--run.dir={run}"]
    if deepspeed is not None:
        read_policy(deepspeed)  # an error here, not on the nodes
        files[POLICY] = read_file("--deepspeed", deepspeed)
        settings.append(f"--deepspeed={folder / POLICY}")
    number = asked.hand_in(
        SlurmJob(
            name=run.name,
            script=launcher_script(asked.launchers, "pretrain.sbatch"),
            arguments=settings,
            folder=folder,
            log="job-%j.log",
            options=rank_options(asked.resources, elastic),
        ),
        files,
    )
    log = run / LOGS / f"{'node' if elastic else 'rank'}-0.log"
    asked.lines += [
        f"follow it:        tail -F {shlex.quote(str(log))}",
        f"save and requeue: scancel --batch --signal=USR1 {number}",
        f"end it:           scancel {number}",
    ]
    asked.show()


@command("evaluate", *setting_options("config", EvaluationConfig, "evaluation."))
@click.option("--models", cls=Several, required=True, metavar="RUN...", help="Runs or exports.")
@click.option(
    "--tasks", cls=Several, required=True, metavar="TASK...", help="See `alignmlm eval ls`."
)
@click.option(
    "--name",
    default="evaluate",
    show_default=True,
    help="The submission is kept in runs/<name>.",
)
@click.option("--at-once", type=AtLeast(1), help="Elements that may run at a time; none: all.")
@job_options
@click.pass_context
def launch_evaluate(
    context: click.Context,
    config: EvaluationConfig,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    name: str,
    at_once: int | None,
    **job: Any,
) -> None:
    """Measure models on tasks as a SLURM job array; settings as in `alignmlm eval run`."""
    if Path(name).name != name or name in ("", ".."):
        raise ConfigError("--name", name, "be the name of a folder in runs, without slashes")
    for model in models:
        if not Path(model).is_dir():
            raise ConfigError("--models", model, "be the folder of a run or an export")
    from alignmlm.tasks.task import requested_tasks

    requested_tasks(tasks)  # an unknown one ends this command, and not every element of the array
    asked = Submission(**job)
    settings = [f"--{key}={text}" for key, text in context.meta[GIVEN].items()]
    array = SlurmJob(
        name=name,
        script=launcher_script(asked.launchers, "evaluate.sbatch"),
        arguments=[*models, "--", *tasks, *(["--", *settings] if settings else [])],
        folder=next_folder(Path("runs") / name / LAUNCH),
        log="%A-%a.log",
        options=[array_option(0, len(models) * len(tasks) - 1, at_once)],
    )
    number = asked.hand_in(array, {})
    asked.lines += [
        f"follow it:        tail -F {shlex.quote(str(array.folder))}/{number}-*.log",
        f"end it:           scancel {number}",
    ]
    asked.show()


def array_option(first: int, last: int, at_once: int | None) -> str:
    """The option that makes a job an array."""
    return f"--array={first}-{last}" + (f"%{at_once}" if at_once else "")


@command("study")
@click.argument("study", type=Shipped("study"))
@click.option("--at-once", type=AtLeast(1), help="Runs that may train at a time; none: all.")
@job_options
def launch_study(study: Path, at_once: int | None, **job: Any) -> None:
    """Run STUDY (YAML) as a SLURM job array, one element per run, and a job for its table."""
    from alignmlm.studies.study import load_study, planned_runs

    asked = Submission(**job)
    config = load_study(study)
    files = {"study.yaml": read_file("study", study)}
    if config.recipe:
        files[RECIPE] = read_file("study.recipe", Path(config.recipe))
    runs = SlurmJob(
        name=config.name,
        script=launcher_script(asked.launchers, "study.sbatch"),
        arguments=[str(study)],
        folder=next_folder(Path(config.folder) / LAUNCH),
        log="%A-%a.log",
        options=[array_option(1, len(planned_runs(config)), at_once)],
    )
    number = asked.hand_in(runs, files)
    after = f"--dependency=afterany:{'<job>' if number is None else number}"  # failed runs, too
    options = [after, "--export=ALL,STUDY_TABLE=1"]
    table = replace(runs, name=f"{config.name}-table", log="%j.log", options=options)
    command = sbatch_command(table, asked.resources)
    asked.commands.append(command)
    if number is not None:
        try:
            last = submit(command, asked.launchers)
        except AlignMLMError as error:
            text = f"job {number} has the runs and goes on, but the one for their table was refused"
            raise AlignMLMError(f"{text}: {error}") from error
        asked.jobs.append(last)
        asked.lines += [
            f"job {last} writes the table when all runs have ended",
            f"follow it:        tail -F {shlex.quote(str(runs.folder))}/{number}-*.log",
            f"end it:           scancel {number} {last}",
        ]
    asked.show()
