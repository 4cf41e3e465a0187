"""Splitting documents into sentences, and sentences into words."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import regex
from sentencex import segment

from alignmlm.languages.orders import FINAL_MARKS

GIVEN = "\x1f"  # the unit separator, white space, so it never occurs in normalised text
MARKS = "".join(sorted(FINAL_MARKS))
# characters that extend the one before them, in Unicode's grapheme clusters (UAX 29): combining
# marks, the joiners (also of emoji), skin tones, the tags of regional flags
EXTENDERS = "\\p{M}\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
PREFIXES = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # signs before numbers
OTHER_MARKS = rf"[^\s\p{{L}}\p{{N}}{EXTENDERS}{MARKS}{PREFIXES}]"
WORD = regex.compile(
    # from the first letter or digit to the last one without white space between, so "don't"
    # and "well-known" stay whole; runs of sentence-final marks; runs of other marks
    rf"[{PREFIXES}]*(?:"
    rf"(?:[\p{{L}}\p{{N}}]|(?<![^\s{PREFIXES}])[{EXTENDERS}])(?:\S*[\p{{L}}\p{{N}}])?[{EXTENDERS}]*"
    rf"|(?:[{MARKS}][{EXTENDERS}]*)+|(?:{OTHER_MARKS}[{EXTENDERS}]*)+)|[{PREFIXES}]+"
)
LONGEST_RUN = 1000  # characters without a space that a tokenizer is trained on in one piece
RUN = regex.compile(rf".{{1,{LONGEST_RUN}}}(?![{EXTENDERS}])|.{{1,{LONGEST_RUN}}}", regex.DOTALL)
MANY_MARKS = regex.compile(r"\p{M}{1000}")
LINE_END = regex.compile("\r\n|[\r\n]")
# ISO 639-3 and ISO 639-1; then languages that corpora distinguish but ISO 639-1 does not
CODES = """
    aar:aa abk:ab afr:af aka:ak amh:am ara:ar arg:an asm:as ava:av ave:ae aym:ay aze:az bak:ba
    bam:bm bel:be ben:bn bis:bi bod:bo bos:bs bre:br bul:bg cat:ca ces:cs cha:ch che:ce chu:cu
    chv:cv cor:kw cos:co cre:cr cym:cy dan:da deu:de div:dv dzo:dz ell:el eng:en epo:eo est:et
    eus:eu ewe:ee fao:fo fas:fa fij:fj fin:fi fra:fr fry:fy ful:ff gla:gd gle:ga glg:gl glv:gv
    grn:gn guj:gu hat:ht hau:ha hbs:sh heb:he her:hz hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig
    ido:io iii:ii iku:iu ile:ie ina:ia ind:id ipk:ik isl:is ita:it jav:jv jpn:ja kal:kl kan:kn
    kas:ks kat:ka kau:kr kaz:kk khm:km kik:ki kin:rw kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku
    lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lub:lu lug:lg mah:mh mal:ml mar:mr mkd:mk
    mlg:mg mlt:mt mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd ndo:ng nep:ne nld:nl
    nno:nn nob:nb nor:no nya:ny oci:oc oji:oj ori:or orm:om oss:os pan:pa pli:pi pol:pl por:pt
    pus:ps que:qu roh:rm ron:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slv:sl sme:se smo:sm
    sna:sn snd:sd som:so sot:st spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv tah:ty
    tam:ta tat:tt tel:te tgk:tg tgl:tl tha:th tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw
    uig:ug ukr:uk urd:ur uzb:uz ven:ve vie:vi vol:vo wln:wa wol:wo xho:xh yid:yi yor:yo zha:za
    zho:zh zul:zu

    als:sq arb:ar ayr:ay azj:az cmn:zh ekk:et gaz:om gug:gn khk:mn kmr:ku kpv:kv lvs:lv npi:ne
    ory:or pes:fa plt:mg quy:qu quz:qu swh:sw uzn:uz ydd:yi zsm:ms
"""
TWO_LETTER_CODES = {pair[:3]: pair[4:] for pair in CODES.split()}


@dataclass(frozen=True, slots=True)
class RawSentence:
    """One sentence: normalised text, and the position of each word's first character."""

    text: str  # Unicode NFC, single spaces
    word_starts: tuple[int, ...]
    given: bool = False  # the words come from a treebank, and each has tokens of its own


def composed(text: str) -> str:
    """Unicode NFC; where a letter has over 1,000 marks, each thousand is normalised by itself.

    The time that CPython takes to sort marks grows with the square of their number.
    """
    cuts = [match.end() for match in MANY_MARKS.finditer(text)] if len(text) > 1000 else []
    bounds = pairwise([0, *cuts, len(text)])
    return "".join(unicodedata.normalize("NFC", text[start:stop]) for start, stop in bounds)


def normalise(text: str) -> str:
    """Unicode NFC with every run of white space as one space."""
    return " ".join(composed(text).split())


def words_of(text: str) -> RawSentence:
    """A sentence with its words found: marks at a word's edges are words of their own."""
    return RawSentence(text, tuple(match.start() for match in WORD.finditer(text)))


def from_words(words: list[str], joined: Sequence[bool] = ()) -> RawSentence:
    """A sentence whose words are given, as in a treebank.

    `joined` says which words follow the one before without a space; empty: none does. A blank word
    is a space.
    """
    text, starts, parted = "", [], False
    for word, follows in zip(words, joined or [False] * len(words), strict=True):
        shown = normalise(word).replace(" ", "\u00a0")
        if shown:
            text += " " if text and (parted or not follows) else ""
            starts.append(len(text))
            text += shown
        parted = not shown
    return RawSentence(text, tuple(starts), given=True)


def two_letter_code(language: str) -> str:
    """The code that sentencex expects: ISO 639-1 where there is one, else the code as it is."""
    return TWO_LETTER_CODES.get(language, language)


def sentence_texts(text: str, language: str) -> list[str]:
    """Sentences of a document, normalised; a line break always ends a sentence.

    Source: sentencex, Wikimedia's segmenter (300 languages, 50 MB/s on one core).
    """
    code = two_letter_code(language)
    lines = (normalise(line) for line in LINE_END.split(text))
    parts = (part.strip() for line in lines if line for part in segment(code, line))
    return [part for part in parts if part]


def split_sentences(text: str, language: str) -> list[RawSentence]:
    """Sentences of a document with their words."""
    return [words_of(part) for part in sentence_texts(text, language)]


def as_line(sentence: RawSentence) -> str:
    """A sentence as one line of text, with a mark before each word that was given."""
    if not sentence.given:
        return sentence.text
    bounds = [*sentence.word_starts, len(sentence.text)]
    return "".join(f"{GIVEN}{sentence.text[a:b]}" for a, b in pairwise(bounds))


def cut_runs(text: str) -> list[str]:
    """The text as it is or, where a word is very long, its words, long ones cut into pieces.

    The time to learn BPE merges grows with the square of a piece's length.
    """
    words = text.split(" ")
    if max(map(len, words)) <= LONGEST_RUN:
        return [text]
    return [piece for word in words for piece in RUN.findall(word)]


def plain_line(line: str) -> str:
    """The text of a line without the marks that as_line adds."""
    return line.replace(GIVEN, "")


def from_line(line: str) -> RawSentence:
    """The sentence that as_line made a line from."""
    if not line.startswith(GIVEN):
        return words_of(line)
    words = line.split(GIVEN)[1:]
    starts = accumulate((len(word) for word in words[:-1]), initial=0)
    return RawSentence("".join(words), tuple(starts), given=True)
