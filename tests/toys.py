"""A small task, and CoNLL-U from words with tags."""

from dataclasses import dataclass
from pathlib import Path

from alignmlm.tasks.examples import LabelledSentence, SplitFile
from alignmlm.tasks.formats import read_split


def conllu(sentences: list[str]) -> str:
    """Sentences such as "the/DET dog/NOUN" as CoNLL-U; a word after "+" is joined to the last."""
    blocks = []
    for sentence in sentences:
        lines = []
        words = sentence.split()
        for i, word in enumerate(words, start=1):
            form, tag = word.lstrip("+").rsplit("/", 1)
            misc = "SpaceAfter=No" if words[i : i + 1] and words[i].startswith("+") else "_"
            lines.append("\t".join([str(i), form, form, tag, *"____", "_", misc]))
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


@dataclass(frozen=True)
class ToyTask:
    path: Path  # of the YAML
    sentences: list[str]


def write_toy_task(folder: Path) -> ToyTask:
    """A task of POS with 64 sentences of the sample world."""
    nouns, verbs = ("dofor", "mima", "vustut", "kiru"), ("drofa", "lutek", "pife", "kewor")
    sentences = [
        f"the/DET {noun}/NOUN {verb}/VERB every/DET {other}/NOUN +./PUNCT"
        for noun in nouns for verb in verbs for other in nouns
    ]  # fmt: skip
    splits = {"train": sentences[::2], "dev": sentences[1::4], "test": sentences[3::4]}
    for split, chosen in splits.items():
        (folder / f"{split}.conllu").write_text(conllu(chosen), encoding="utf-8")
    files = "".join(f"  {split}: {folder / split}.conllu\n" for split in splits)
    text = "name: toy\nversion: 1\nkind: token_classification\nmetric: accuracy\n"
    text += f"form: conllu_upos\nlanguage: qaa-Latn\nfiles:\n{files}"
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    return ToyTask(folder / "toy.yaml", sentences)


def read_sentences(path: Path) -> list[LabelledSentence]:
    """The sentences of a CoNLL-U file, as a task's split is read."""
    split = read_split(SplitFile(path=str(path), form="conllu_upos"))
    return [example for example in split.examples if isinstance(example, LabelledSentence)]
