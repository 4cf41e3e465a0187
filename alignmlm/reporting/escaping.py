"""Names of tasks, languages and words, escaped for tables, whatever they hold."""

import re

FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - a spreadsheet computes such a cell
NUMBERS = re.compile(r"[\d\s.,\[\]+-]*")
MARKDOWN = "\\|*_`<>[]~$#&"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def one_line(text: str) -> str:
    """A text with its line breaks and tabs as spaces."""
    return text.translate(dict.fromkeys(map(ord, "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"), " "))


def csv_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula: what would begin one gets a "'" before it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def markdown_text(text: str) -> str:
    """A text that does not end a Markdown cell and starts no emphasis, link, HTML or formula.

    Numbers and their intervals stay as they are.
    """
    line = one_line(text)
    if NUMBERS.fullmatch(line):
        return line
    return "".join(f"\\{c}" if c in MARKDOWN else c for c in line)


def latex_text(text: str) -> str:
    """A text with everything that LaTeX would take for a command escaped.

    A "[" or "*" at its start would be an argument of the line break before it.
    """
    line = "".join(LATEX.get(character, character) for character in one_line(text))
    return f"{{}}{line}" if line.lstrip().startswith(("[", "*")) else line
