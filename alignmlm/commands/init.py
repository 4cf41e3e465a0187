"""`alignmlm init`: a recipe and a study for text of one's own."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from jinja2 import Environment

from alignmlm.commands.options import NUMBER, PATH, as_json, command
from alignmlm.config import Several, load_recipe
from alignmlm.console.quiet import quiet_logs
from alignmlm.console.terminal import messages, print_json, print_line
from alignmlm.errors import ConfigError
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.typed_settings import check_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from alignmlm.corpus.survey import Corpus
    from alignmlm.pretraining.recipe import Recipe
    from alignmlm.studies.speed import RunSpeed

RECIPE, STUDY = "recipe.yaml", "study.yaml"
VALIDATION_DOCUMENTS, VALIDATION_TOKENS = 50, 10_000  # of each language, at most a tenth of it
TRIAL_VALIDATION = 0.1
OBJECTIVES = ("mlm", "align_mlm")
CONTEXT_TOKENS = 1000 * 4096  # what tiny models need to learn from context (docs/results.md)
ROW_TOKENS, ROWS = 128, 16  # long enough for nearly every sentence of the tasks; per step

RECIPE_TEXT = """\
# Written by `alignmlm init`; paths start at the folder in which commands are given.
# Every setting that is not here has its default: `alignmlm settings` explains them all.
data:
  store: {{ quoted(store) }}
  sources:
{%- for language, text in texts.items() %}
    - language: {{ language }}
      files: {{ quoted(text.files) }}
      # {{ text.documents }} documents, together about {{ text.tokens }} tokens
      documents: {{ text.ends }}  # what ends a document: blank_line or line
{%- endfor %}
  vocabulary_size: {{ vocabulary_size }}
  validation: {{ validation }}  # share of the documents that is held out
languages:
  ids: {{ quoted(languages) }}
dictionary:
  fraction: 0.5  # half of the words are given to training, the others measure what it learned
{%- if dictionaries %}
  files:
{%- for each in dictionaries %}
    - {path: {{ quoted(each.path) }}, source: {{ each.source }}, target: {{ each.target }}}
{%- endfor %}
{%- endif %}
model:
  size: tiny  # or small, paper, base
train:
  steps: {{ steps }}  # {{ minutes }} minutes of this machine for all runs of the study
  seq_len: {{ seq_len }}  # tokens of a row
  batch_rows: {{ batch_rows }}
  validation_steps: {{ often }}
run:
  name: {{ quoted(name) }}
  checkpoint_steps: {{ often }}
"""
STUDY_TEXT = """\
# Written by `alignmlm init`: what is trained, and how it is measured.
# Add to a list and give the same command again: only what is new is done.
name: {{ quoted(name) }}
recipe: {{ quoted(recipe) }}
objectives: {{ quoted(objectives) }}
seeds: [0]  # a run of each objective for each; at least 3 to tell differences from noise
# Tasks of `alignmlm eval ls`, or YAML files of your own; without any, losses are compared.
tasks: {{ quoted(tasks) }}
evaluation:
  seeds: [0]  # of fine-tuning
folder: {{ quoted(folder) }}
"""


@command("init")
@click.argument("folder", type=PATH)
@click.option(
    "--languages", cls=Several, metavar="ID...", help="eng-Latn fra-Latn; of one: derived too."
)
@click.option(
    "--text", cls=Several, metavar="PATH...", help="A file or folder for each natural language."
)
@click.option(
    "--dictionary",
    cls=Several,
    metavar="FILE...",
    help="MUSE format, from the first natural language to each other one.",
)
@click.option("--minutes", type=NUMBER, help="For pre-training all runs of the study.")
@click.option("--tasks", cls=Several, metavar="TASK...", help="See `alignmlm eval ls`; or YAML.")
@as_json
def init_command(
    folder: Path,
    languages: tuple[str, ...],
    text: tuple[str, ...],
    dictionary: tuple[str, ...],
    minutes: int | float | None,
    tasks: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write a recipe and a study for text of your own to FOLDER; asks for what is missing."""
    from alignmlm.corpus.sources import expand_path
    from alignmlm.corpus.survey import fitting_tokenizer, surveyed
    from alignmlm.languages.dictionary import file_words
    from alignmlm.tasks.task import check_task_files

    if not folder.resolve().name or "$" in str(folder):
        raise ConfigError("folder", str(folder), "have a name without $, which names a variable")
    for key, path in (("folder", str(folder)), *(("--text", each) for each in text)):
        check_text(path, key, variables=True)  # not UTF-8: no recipe could name it
    for name in (RECIPE, STUDY):
        if (folder / name).exists():
            raise ConfigError("folder", str(folder), f"have no {name} yet; name another folder")
    languages = with_derived(languages or asked("languages", "Languages (eng-Latn fra-Latn)"))
    bases = natural(languages)
    text = text or asked("text", f"A file or folder of text for each of {', '.join(bases)}")
    if len(bases) > 1 and not dictionary:
        dictionary = asked("dictionary", f"A dictionary from {bases[0]} to each other language")
    check_number("--text", text, len(bases))
    check_number("--dictionary", dictionary, len(bases) - 1)
    if minutes is None:
        minutes = NUMBER.convert(" ".join(asked("minutes", "Minutes for pre-training")), None, None)
    if minutes <= 0:
        raise ConfigError("--minutes", minutes, "be positive")
    check_task_files(tasks, bases, Path(EvaluationConfig().sample_folder))
    for path in dictionary:
        file_words(expand_path(path))  # an error here, not after minutes
    corpora = [surveyed(base, path) for base, path in zip(bases, text, strict=True)]
    files = [
        {"path": path, "source": bases[0], "target": target}
        for path, target in zip(dictionary, bases[1:], strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)  # an error here, not after the trial
    tokenizer = fitting_tokenizer(corpora)
    recipe = first_recipe(languages, files, tokenizer.get_vocab_size())
    speed = trial(recipe, corpora, tokenizer)
    draft = drafted(folder, recipe, corpora, tokenizer, speed, float(minutes))
    draft["tasks"] = list(tasks)
    write(folder, draft)
    if as_json:
        print_json(draft)
    else:
        show(draft)


def asked(option: str, question: str) -> tuple[str, ...]:
    """The words of a user's answer on a terminal.

    Raises:
        ConfigError: there is no terminal to ask on, or a quote is not closed.
        KeyboardInterrupt: the user ends the command.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"--{option}", None, f"be given where no terminal can ask: {question}")
    try:
        answer = click.prompt(question, err=True)
    except click.Abort as end:  # Ctrl-C or Ctrl-D
        raise KeyboardInterrupt from end
    try:
        return tuple(shlex.split(answer))
    except ValueError as error:
        raise ConfigError(f"--{option}", answer, f"be words as in a shell ({error})") from error


def with_derived(languages: Sequence[str]) -> tuple[str, ...]:
    """The languages; a single one is joined by its inversion in a script of its own."""
    return (*languages, f"{languages[0]}-x-inv-trans") if len(languages) == 1 else tuple(languages)


def natural(languages: Sequence[str]) -> list[str]:
    """The natural languages among some languages, and those that the others are derived from.

    Raises:
        ConfigError: an invalid language id.
    """
    from alignmlm.languages.language import parse_language

    return list(dict.fromkeys(parse_language(name).base for name in languages))


def check_number(option: str, given: Sequence[str], count: int) -> None:
    """Raise unless an option has as many values as it must.

    Raises:
        ConfigError: it has not.
    """
    if len(given) != count:
        raise ConfigError(option, list(given), f"be {count}, one for each natural language")


def first_recipe(
    languages: Sequence[str], dictionaries: list[dict[str, str]], vocabulary_size: int
) -> "Recipe":
    """The recipe, but for its text and its steps."""
    settings = {
        "languages.ids": list(languages),
        "dictionary.files": dictionaries,
        "dictionary.fraction": 0.5,
        "data.vocabulary_size": vocabulary_size,
        "train.seq_len": ROW_TOKENS,
        "train.batch_rows": ROWS,
    }
    return load_recipe(None, [f"--{key}={json.dumps(value)}" for key, value in settings.items()])


def trial(recipe: "Recipe", corpora: "Sequence[Corpus]", tokenizer: "Tokenizer") -> "RunSpeed":
    """How fast this machine trains the recipe: builds the sample, and trains a few steps on it.

    Raises:
        AlignMLMError: the recipe cannot be trained on this text.
    """
    from alignmlm.corpus.build import build_store
    from alignmlm.studies.speed import measured_speed

    with TemporaryDirectory(prefix="alignmlm-") as place, messages.status("measuring the speed"):
        tokenizer.save(str(path := Path(place) / "tokenizer.json"))
        data = replace(
            recipe.data,
            store=f"{place}/store",
            sources=[replace(each.source, max_documents=len(each.sample)) for each in corpora],
            tokenizer=str(path),
            validation=TRIAL_VALIDATION,
        )
        with quiet_logs():
            build_store(data)
        return measured_speed(replace(recipe, data=data))


def rounded(steps: float) -> int:
    """Steps rounded down to two significant digits, at least 20."""
    digits = 10 ** max(0, len(str(int(steps))) - 2)
    return max(20, int(steps / digits) * digits)


def validation_share(texts: Iterable[dict[str, Any]]) -> float:
    """The share of the documents to hold out: enough of each text, in [0.01, 0.1]."""
    wanted = (
        each / text[key]
        for text in texts
        for key, each in (("documents", VALIDATION_DOCUMENTS), ("tokens", VALIDATION_TOKENS))
    )
    return round(min(0.1, max(0.01, *wanted)), 2)


def drafted(
    folder: Path,
    recipe: "Recipe",
    corpora: "Sequence[Corpus]",
    tokenizer: "Tokenizer",
    speed: "RunSpeed",
    minutes: float,
) -> dict[str, Any]:
    """What the recipe and the study say, as plain values."""
    train = recipe.train
    texts: dict[str, dict[str, Any]] = {
        each.source.language: {
            "files": each.source.files,
            "ends": each.source.documents,
            "documents": each.documents,
            "tokens": each.tokens(tokenizer),
        }
        for each in corpora
    }
    steps = rounded((60 * minutes / len(OBJECTIVES) - speed.other_s) / speed.step_s)
    step_tokens = train.batch_rows * train.seq_len
    tokens, enough = steps * step_tokens, ceil(CONTEXT_TOKENS / step_tokens)
    shares = Counter(natural([name])[0] for name in recipe.languages.ids)
    read = {
        name: tokens * shares[name] / len(recipe.languages.ids) / text["tokens"]
        for name, text in texts.items()
    }
    return {
        "recipe": str(folder / RECIPE),
        "study": str(folder / STUDY),
        "name": folder.resolve().name,
        "folder": str(folder / "runs"),
        "store": str(folder / "store"),
        "texts": texts,
        "times_read": {name: round(times, 1) for name, times in read.items()},
        "vocabulary_size": recipe.data.vocabulary_size,
        "validation": validation_share(texts.values()),
        "languages": recipe.languages.ids,
        "dictionaries": [asdict(each) for each in recipe.dictionary.files],
        "objectives": list(OBJECTIVES),
        "steps": steps,
        "step_s": round(speed.step_s, 4),
        "minutes": round(len(OBJECTIVES) * speed.run_s(steps) / 60, 1),
        "tokens": tokens,
        "minutes_for_context": ceil(len(OBJECTIVES) * speed.run_s(enough) / 60),
        "seq_len": train.seq_len,
        "batch_rows": train.batch_rows,
        "often": max(10, steps // 4),
    }


def write(folder: Path, draft: dict[str, Any]) -> None:
    """Write the recipe and the study."""
    quoted = partial(json.dumps, ensure_ascii=False)
    for name, text in ((RECIPE, RECIPE_TEXT), (STUDY, STUDY_TEXT)):
        template = Environment(autoescape=False, keep_trailing_newline=True).from_string(text)
        replace_text(folder / name, template.render(draft, quoted=quoted))


def show(draft: dict[str, Any]) -> None:
    """Print what was found, and the next commands."""
    for name, text in draft["texts"].items():
        times = draft["times_read"][name]
        counts = f"{text['documents']:,} documents, about {text['tokens']:,} tokens"
        print_line(f"{name}: {counts}, each read {times:g} times")
    print_line(
        f"{draft['steps']:,} steps of {1000 * draft['step_s']:,.0f} ms for each of "
        f"{len(draft['objectives'])} objectives: about {draft['minutes']:g} minutes here"
    )
    if draft["tokens"] < CONTEXT_TOKENS:
        print_line(
            f"warning: {draft['tokens']:,} tokens are too few to learn from context; about "
            f"{CONTEXT_TOKENS:,} are needed, which is --minutes {draft['minutes_for_context']} here"
        )
    print_line(f"wrote {draft['recipe']} and {draft['study']}; look at them, then:")
    print_line("  " + shlex.join(["alignmlm", "data", "build", "--config", draft["recipe"]]))
    print_line("  " + shlex.join(["alignmlm", "study", "run", draft["study"]]))
    print_line("  " + shlex.join(["alignmlm", "report", draft["folder"], "--watch"]))
