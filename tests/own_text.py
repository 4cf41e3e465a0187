"""What a user may have: text in two languages, a dictionary, a treebank, and a file of names."""

from collections.abc import Iterable
from pathlib import Path

from alignmlm.corpus.sample_world import plain_text, sample_documents
from tests.toys import conllu

TAGS = {"the": "DET", "every": "DET", "over": "ADP", "under": "ADP", ".": "PUNCT"}


def other_word(word: str) -> str:
    """A word as the second language has it: backwards, but for marks."""
    return word if not word.isalpha() else word[::-1]


def in_other_language(words: Iterable[str]) -> str:
    """A text in the second language, which has the words in reverse order."""
    *words, mark = words
    return " ".join([*map(other_word, reversed(words)), mark])


def name_rows(words: list[str]) -> str:
    """A sentence as lines of word, part of speech and label, in three columns."""
    labels = ["B-PER" if place == 2 else "O" for place in range(len(words))]
    rows = [(word, TAGS.get(word, "X"), tag) for word, tag in zip(words, labels, strict=True)]
    return "".join(f"{word} {tag} {label}\n" for word, tag, label in rows) + "\n"


def write_own(folder: Path, sentences: int = 1500) -> None:
    """Write the folders en and fr, en-fr.txt, and the files of the tasks of docs/howto-task.md."""
    texts = [
        plain_text(sentence).replace(".", " .").split()
        for document in sample_documents(sentences)
        for sentence in document
    ]
    for language, shown in (("en", " ".join), ("fr", in_other_language)):
        (folder / language).mkdir()
        lines = [shown(words) for words in texts]
        half = len(lines) // 2
        for number, part in enumerate((lines[:half], lines[half:])):
            text = "\n".join(part) + "\n"
            (folder / language / f"part-{number}.txt").write_text(text, encoding="utf-8")
    words = sorted({word for text in texts for word in text if word.isalpha()})
    pairs = "".join(f"{word} {other_word(word)}\n" for word in words)
    (folder / "en-fr.txt").write_text(pairs, encoding="utf-8")
    tagged = [[(word, TAGS.get(word, "NOUN")) for word in text] for text in texts[:280]]
    english = [" ".join(f"{word}/{tag}" for word, tag in text) for text in tagged]
    french = [" ".join(f"{other_word(word)}/{tag}" for word, tag in text) for text in tagged[240:]]
    names = named(texts[:240])
    files = {
        "pos-train.conllu": conllu(english[:200]),
        "pos-dev.conllu": conllu(english[200:240]),
        "pos-test.conllu": conllu(english[240:]),
        "french.conllu": conllu(french),
        "french-names.txt": "".join(name_rows(list(map(other_word, text))) for text in names[200:]),
        "names-train.txt": "".join(map(name_rows, names[:200])),
        "names-test.txt": "".join(map(name_rows, names[200:])),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def named(texts: list[list[str]]) -> list[list[str]]:
    """Sentences whose third words are names, with a capital."""
    return [[word.title() if place == 2 else word for place, word in enumerate(t)] for t in texts]
