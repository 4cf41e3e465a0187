"""Commands about evaluation: run, ls."""

from argparse import ArgumentParser as PlainParser
from collections.abc import Sequence
from pathlib import Path

from alignmlm.terminal import console


def eval_run(arguments: Sequence[str]) -> int:
    """Fine-tune on a task, measure BS, BZ and Delta."""
    from jsonargparse import ArgumentParser

    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.evaluation.evaluate import EvaluationConfig, evaluate
    from alignmlm.evaluation.results import result_rows
    from alignmlm.reporting.tables import study_table

    parser = ArgumentParser(prog="alignmlm eval run", description=eval_run.__doc__)
    parser.add_argument("--model", type=str, required=True, help="folder of a run or an export")
    parser.add_argument("--tasks", nargs="+", default=["sample_pos"], help="see alignmlm eval ls")
    parser.add_argument("--output", type=str, help="folder of the results; none: in the run")
    parser.add_class_arguments(EvaluationConfig, "evaluation")
    values = parser.parse_args(list(arguments))
    config = parser.instantiate(values).evaluation
    output = Path(values.output) if values.output else None
    results = evaluate(Path(values.model), values.tasks, config, output)
    console.print(study_table(result_rows(results)))
    return 0


def eval_ls(arguments: Sequence[str]) -> int:
    """Names of the tasks."""
    from alignmlm.evaluation.tasks import task_names

    PlainParser(prog="alignmlm eval ls", description=eval_ls.__doc__).parse_args(arguments)
    console.print("\n".join(task_names()))
    return 0
