"""CoNLL-U: sentences as lines of 10 columns, with checked ids and the places without a space.

Source: https://universaldependencies.org/format.html (columns, ids, ranges, SpaceAfter).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from alignmlm.errors import DataError

COLUMNS = 10
NUMBER = "[1-9][0-9]{0,17}"
WORD = re.compile(NUMBER)
RANGE = re.compile(f"({NUMBER})-({NUMBER})")  # of a multiword token
EMPTY = re.compile(rf"(0|{NUMBER})\.{NUMBER}")  # a node without a word


@dataclass(frozen=True, slots=True)
class WordLine:
    """The line of a word or a multiword token."""

    number: int  # of the line in its file
    columns: list[str]

    @property
    def form(self) -> str:
        """The word as it is written."""
        return self.columns[1]

    @property
    def space_after(self) -> bool:
        """Whether a space follows."""
        return "SpaceAfter=No" not in self.columns[9].split("|")


@dataclass(frozen=True, slots=True)
class Block:
    """A sentence: its words, numbered from 1 in their order, and its multiword tokens."""

    rows: list[WordLine]
    ranges: list[tuple[int, int, WordLine]]  # first and last word, and its line

    @property
    def words(self) -> list[str]:
        """The forms of the words."""
        return [row.form for row in self.rows]

    def joined(self) -> list[bool]:
        """For each word, whether no space stands between it and the word before.

        Words of a multiword token are joined where their forms spell it ("do" + "n't"); the
        others get a space between them, as the file does not say where in the token each one ends.
        """
        words = self.words
        joined = [False, *(not row.space_after for row in self.rows)]
        for first, last, row in self.ranges:
            spelled = "".join(words[first - 1 : last]) == row.form
            joined[first:last] = [spelled] * (last - first)
            joined[last] = not row.space_after
        return joined[:-1]


def columns_of(number: int, line: str, path: object, more: bool) -> list[str]:
    """The columns of a line.

    Raises:
        DataError: there are not 10 of them.
    """
    columns = line.split("\t")
    if len(columns) < COLUMNS or (len(columns) > COLUMNS and not more):
        raise DataError(
            f"{path}:{number}: a CoNLL-U line has {COLUMNS} columns between tabs, "
            f"found {len(columns)}: {line[:80]!r}"
        )
    return columns


def block_of(lines: list[WordLine], path: object) -> Block:
    """The sentence of some lines; nodes without a word are left out.

    Raises:
        DataError: an id is malformed or out of order, or a range names words that are not there.
    """
    words: list[WordLine] = []
    ranges = []
    for row in lines:
        name, place = row.columns[0], f"{path}:{row.number}"
        if bounds := RANGE.fullmatch(name):
            ranges.append((int(bounds[1]), int(bounds[2]), row))
        elif WORD.fullmatch(name):
            words.append(row)
            if int(name) != len(words):
                raise DataError(
                    f"{place}: words must be numbered in order, found {name} for word {len(words)}"
                )
        elif not EMPTY.fullmatch(name):
            raise DataError(f"{place}: a word id must look like 3, 3-4 or 3.1, found {name[:80]!r}")
    check_ranges(ranges, len(words), path)
    return Block(words, ranges)


def check_ranges(ranges: list[tuple[int, int, WordLine]], words: int, path: object) -> None:
    """Raise unless the ranges of a sentence name words that it has and do not overlap.

    Raises:
        DataError: one names other words or ends before it begins, or two overlap.
    """
    for first, last, row in ranges:
        place = f"{path}:{row.number}: range {first}-{last}"
        if last < first:
            raise DataError(f"{place} ends before it begins")
        if last > words:
            missing = max(first, words + 1)
            raise DataError(
                f"{place} names id {missing}, which has no word line: the last is {words}"
            )
    for before, after in pairwise(sorted(ranges, key=lambda each: each[:2])):
        if after[0] <= before[1]:
            place = f"{path}:{after[2].number}: range {after[0]}-{after[1]}"
            raise DataError(f"{place} overlaps range {before[0]}-{before[1]}")


def blocks(
    lines: Iterable[tuple[int, str]], path: object, *, more: bool = False
) -> Iterator[Block]:
    """The sentences of some numbered lines; comments and sentences without words are left out.

    `more` allows columns after the tenth, as files of Galactic Dependencies have them.

    Raises:
        DataError: a sentence is damaged; the message starts with path:line.
    """
    rows: list[WordLine] = []
    for number, line in lines:
        if not line.strip(" \t"):
            if rows and (block := block_of(rows, path)).rows:
                yield block
            rows = []
        elif not line.startswith("#"):
            rows.append(WordLine(number, columns_of(number, line, path, more)))
    if rows and (block := block_of(rows, path)).rows:
        yield block
