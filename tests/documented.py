"""The commands of README and the pages, as a reader would type them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN = ("quickstart", "howto-task", "howto-text", "howto-study")  # by test_wheel, in this order
RUN_SMALL = "needs Wikipedia or SLURM: test_page_commands runs it, smaller"
LEFT_OUT = {  # by test_wheel: commands of these pages and of README, how-to pages and the page
    "make train": "installs everything from the network; the way to this checkout's environment",
    "alignmlm study run sample": "takes minutes; make train and test_sample_study run it",
    "alignmlm init mine --languages eng-Latn fra-Latn --text en fr --dictionary en-fr.txt "
    "--minutes 20": "as in the quick start, without tasks",
    "alignmlm data build --config recipes/wikipedia-align_mlm.yaml": RUN_SMALL,
    "deepspeed train.py --deepspeed ds_configs/zero2.json "
    "--config recipes/wikipedia-align_mlm.yaml": RUN_SMALL,
    "deepspeed train.py --deepspeed ds_configs/zero2.json": "test_ranks runs it, smaller",
    "deepspeed --num_gpus 2 train.py --deepspeed ds_configs/zero2.json": "test_ranks runs it",
    "deepspeed --num_nodes 2 train.py --deepspeed ds_configs/zero2.json": "needs nodes",
    "torchrun --nproc_per_node 2 train.py --deepspeed ds_configs/zero2.json": "test_ranks runs it",
    "python train.py": "test_help and test_ranks run it",
    "alignmlm data show --config recipes/wikipedia-tlm.yaml --step 120": RUN_SMALL,
    "alignmlm eval run --model runs/wikipedia-align_mlm-1 --tasks ewt_pos": RUN_SMALL,
    "alignmlm launch pretrain --nodes 2 --gpus 4 --cpus 8 --time 1-00:00:00 --config "
    "recipes/wikipedia-align_mlm.yaml --deepspeed ds_configs/zero2.json": RUN_SMALL,
    "alignmlm launch evaluate --models runs/a-1 runs/b-1 --tasks ewt_pos panx_eng "
    "--gpus 1": RUN_SMALL,
    "alignmlm launch study studies/sample.yaml --gpus 1 --at-once 4": RUN_SMALL,
    "alignmlm report runs/study-sample --output report.html": "needs that study; test_page",
    "alignmlm report runs/my-study --watch": "goes on until Ctrl-C; test_live_page",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def how_to() -> list[Path]:
    """README and the pages that say how something is done."""
    return [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in (*RUN, "slurm", "page"))]


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command of a page, comments left out: blocks of bash, or of no language."""
    found = []
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        if language in ("", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                try:
                    words = shlex.split(line, comments=True)
                except ValueError:  # no command
                    continue
                found += [words] if words else []
    return found


def first_yaml(page: Path) -> str:
    """The first block of YAML of a page."""
    return next(text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == "yaml")


def alignmlm_commands(page: Path) -> list[list[str]]:
    """The words after `alignmlm` of each command of a page."""
    return [words[1:] for words in commands_of(page) if words[0] == "alignmlm" and words[1:]]
