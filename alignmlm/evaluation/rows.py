"""Model inputs: token ids of one sequence, and its labels."""

from dataclasses import dataclass

IGNORED = -100  # label of a position that is not scored


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence in one language, as the model sees it."""

    input_ids: list[int]  # with <s> and </s>
    labels: list[int] | int | tuple[int, int]  # of each token, of the row, or first and last token
    language: int  # its number in the model
    document: int = 0  # index in its split of the example that it is, or is a part of
    second: int = 0  # where the second text begins; 0: there is none
    offset_tokens: int = 0  # of the second text before it, where it is a part of a longer one


@dataclass(frozen=True, slots=True)
class Rendered:
    """A split in one language of a model."""

    examples: list[Example]
    counts: dict[str, int]  # of what was lost or changed, by name; all zero where nothing was
