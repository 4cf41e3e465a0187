"""Commands that hand work to SLURM: launch pretrain, evaluate and study."""

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from alignmlm.config import parse_recipe, recipe_parser
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import LAUNCH, LOGS, choose_folder
from alignmlm.slurm import (
    Job,
    Resources,
    forget_submission,
    keep_submission,
    launcher_script,
    next_folder,
    rank_options,
    sbatch_command,
    submit,
)
from alignmlm.storage.plain_yaml import yaml_text
from alignmlm.terminal import print_line

RECIPE, POLICY = "recipe.yaml", "deepspeed.json"


def job_parser(prog: str, description: str | None) -> ArgumentParser:
    """A parser of what every job may ask for."""
    parser = ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--gpus", type=int, help="of each node; none: CPUs, one rank a node")
    parser.add_argument("--cpus", type=int, help="of each rank")
    parser.add_argument("--time", help="as in sbatch: minutes, or days-hours:minutes:seconds")
    parser.add_argument("--partition", help="none: that of launchers/env.sh")
    parser.add_argument("--account", help="none: that of launchers/env.sh")
    parser.add_argument(
        "--sbatch", action="append", default=[], metavar="OPTION", help="another option of sbatch"
    )
    parser.add_argument("--launchers", type=Path, default=Path("launchers"), metavar="FOLDER")
    parser.add_argument("--dry-run", action="store_true", help="print the job, submit nothing")
    return parser


def resources_of(values: Namespace) -> Resources:
    """What the command line asks for."""
    names = ("nodes", "gpus", "cpus", "time", "partition", "account", "sbatch")
    return Resources(**{name: getattr(values, name) for name in names})


def hand_in(job: Job, values: Namespace, files: dict[str, str]) -> int | None:
    """The number of the submitted job; None after a dry run, which writes nothing."""
    command = sbatch_command(job, resources_of(values))
    if values.dry_run:
        print_line(shlex.join(command))
        return None
    keep_submission(job, command, files)
    try:
        number = submit(command, values.launchers)
    except AlignMLMError:
        forget_submission(job)
        raise
    print_line(
        f"job {number} submitted; what was submitted is kept in {shlex.quote(str(job.folder))}"
    )
    print_line(f"look at it:       squeue --job {number}")
    return number


def pretraining_of(arguments: Sequence[str]) -> tuple[Recipe, str | None]:
    """The recipe of a run's folder, and its ds_configs file."""
    parser = recipe_parser(prog="alignmlm launch pretrain")
    parser.add_argument("--deepspeed", metavar="JSON")
    recipe, values = parse_recipe(parser, arguments)
    folder = choose_folder(recipe.run, numbers_of(recipe), recipe.train.steps)
    return replace(recipe, run=replace(recipe.run, dir=str(folder))), values.deepspeed


def read_file(key: str, path: str) -> str:
    """The text of a file that the command line names.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(key, path, f"be a readable file ({error})") from error


def launch_pretrain(arguments: Sequence[str]) -> int:
    """Pre-train as a SLURM job that saves, requeues itself and goes on; settings as in train.py."""
    parser = job_parser("alignmlm launch pretrain", launch_pretrain.__doc__)
    parser.add_argument("--elastic", action="store_true", help="go on with the nodes that are left")
    parser.epilog = "All other arguments are those of train.py, --config and --deepspeed too."
    values, rest = parser.parse_known_args(list(arguments))
    recipe, policy = pretraining_of(rest)
    run = Path(str(recipe.run.dir))
    folder = next_folder(run / LAUNCH)
    script = launcher_script(values.launchers, "pretrain.sbatch")
    files = {RECIPE: yaml_text(asdict(recipe))}
    settings = [f"--config={folder / RECIPE}", f"--run.dir={run}"]
    if policy is not None:
        read_policy(Path(policy))  # an error here, not on the nodes
        files[POLICY] = read_file("--deepspeed", policy)
        settings.append(f"--deepspeed={folder / POLICY}")
    options = rank_options(resources_of(values), values.elastic)
    job = Job(
        name=run.name, script=script, arguments=settings, folder=folder, log="job-%j.log",
        options=options,
    )  # fmt: skip
    number = hand_in(job, values, files)
    if number is not None:
        log = run / LOGS / f"{'node' if values.elastic else 'rank'}-0.log"
        print_line(f"follow it:        tail -F {shlex.quote(str(log))}")
        print_line(f"save and requeue: scancel --batch --signal=USR1 {number}")
        print_line(f"end it:           scancel {number}")
    return 0


def launch_evaluate(arguments: Sequence[str]) -> int:
    """Measure models on tasks as a SLURM job array, one element a model and task."""
    parser = job_parser("alignmlm launch evaluate", launch_evaluate.__doc__)
    parser.add_argument("--models", nargs="+", required=True, help="folders of runs or exports")
    parser.add_argument("--tasks", nargs="+", required=True, help="see alignmlm eval ls")
    parser.add_argument("--name", default="evaluate", help="the submission is kept in runs/<name>")
    parser.add_argument("--at-once", type=int, help="how many elements may run; none: all")
    parser.epilog = "All other arguments are those of `alignmlm eval run`."
    values, rest = parser.parse_known_args(list(arguments))
    for model in values.models:
        if not Path(model).is_dir():
            raise ConfigError("--models", model, "be the folder of a run or an export")
    cells = len(values.models) * len(values.tasks)
    lists = [*values.models, "--", *values.tasks, *(["--", *rest] if rest else [])]
    job = Job(
        name=values.name,
        script=launcher_script(values.launchers, "evaluate.sbatch"),
        arguments=lists,
        folder=next_folder(Path("runs") / values.name / LAUNCH),
        log="%A-%a.log",
        options=[array_option(0, cells - 1, values.at_once)],
    )
    number = hand_in(job, values, {})
    if number is not None:
        print_line(f"follow it:        tail -F {shlex.quote(str(job.folder))}/{number}-*.log")
        print_line(f"end it:           scancel {number}")
    return 0


def array_option(first: int, last: int, at_once: int | None) -> str:
    """The option that makes a job an array."""
    return f"--array={first}-{last}" + (f"%{at_once}" if at_once else "")


def launch_study(arguments: Sequence[str]) -> int:
    """A study as a SLURM job array, one element a run, and a job that writes its table."""
    parser = job_parser("alignmlm launch study", launch_study.__doc__)
    parser.add_argument("study", help="a study (YAML)")
    parser.add_argument("--at-once", type=int, help="how many runs may train; none: all")
    values = parser.parse_args(list(arguments))
    from alignmlm.studies.study import load_study, planned_runs

    study = load_study(Path(values.study))
    files = {"study.yaml": read_file("study", values.study)}
    if study.recipe:
        files[RECIPE] = read_file("study.recipe", study.recipe)
    runs = Job(
        name=study.name,
        script=launcher_script(values.launchers, "study.sbatch"),
        arguments=[values.study],
        folder=next_folder(Path(study.folder) / LAUNCH),
        log="%A-%a.log",
        options=[array_option(1, len(planned_runs(study)), values.at_once)],
    )
    number = hand_in(runs, values, files)
    after = f"--dependency=afterok:{'<job>' if number is None else number}"
    table = replace(runs, name=f"{study.name}-table", log="%j.log", options=[after])
    command = sbatch_command(table, resources_of(values))
    if number is None:
        print_line(shlex.join(command))
        return 0
    last = submit(command, values.launchers)
    print_line(f"job {last} writes the table when all runs are done")
    print_line(f"follow it:        tail -F {shlex.quote(str(runs.folder))}/{number}-*.log")
    print_line(f"end it:           scancel {number} {last}")
    return 0
