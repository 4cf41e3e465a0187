"""CoNLL-U: which words of a sentence stand together without a space.

Source: https://universaldependencies.org/format.html (columns, ranges, SpaceAfter).
"""

from collections.abc import Iterable, Iterator

from alignmlm.errors import DataError

COLUMNS = 10
Block = list[tuple[int, list[str]]]  # line number and columns of each line of a sentence
Lines = list[tuple[int, str]]  # line number and text


def columns_of(number: int, line: str, path: object) -> list[str]:
    """The columns of a line.

    Raises:
        DataError: there are not 10 of them.
    """
    columns = line.rstrip("\n").split("\t")
    if len(columns) != COLUMNS:
        raise DataError(f"{path}:{number}: a CoNLL-U line has {COLUMNS} columns: {line!r}")
    return columns


def blocks(lines: Iterable[tuple[int, str]], path: object) -> Iterator[Block]:
    """Sentences of some numbered lines.

    Raises:
        DataError: a line without 10 columns.
    """
    block: Block = []
    for number, line in lines:
        if not line.strip():
            if block:
                yield block
            block = []
        elif not line.startswith("#"):
            block.append((number, columns_of(number, line, path)))
    if block:
        yield block


def joined_words(block: Block) -> set[str]:
    """Ids of the words that no space parts from the word before.

    Words of a multi-word token are joined where their forms spell it ("do" + "n't"); the others
    have a space between them, as the file does not say where the one ends in the token's text.
    """
    lines = [columns for _, columns in block]
    forms = {columns[0]: columns[1] for columns in lines}
    inside: set[str] = set()
    joined: set[str] = set()
    for columns in lines:
        first, _, last = columns[0].partition("-")
        if "." in columns[0]:
            continue
        span = [str(i) for i in range(int(first), int(last or first) + 1)]
        if last and "".join(forms.get(i, "") for i in span) == columns[1]:
            joined |= set(span[1:])
        inside |= set(span) if last else set()
        if "SpaceAfter=No" in columns[9].split("|") and (last or first not in inside):
            joined.add(str(int(span[-1]) + 1))
    return joined


def words_of_block(block: Block, path: object) -> tuple[list[str], list[bool]]:
    """Words of a sentence, and which of them no space parts from the word before.

    Raises:
        DataError: a word's id is no number.
    """
    try:
        joined = joined_words(block)
    except ValueError as error:
        raise DataError(f"{path}:{block[0][0]}: a word id is no number: {error}") from error
    rows = [columns for _, columns in block if columns[0].isdigit()]
    return [columns[1] for columns in rows], [columns[0] in joined for columns in rows]
