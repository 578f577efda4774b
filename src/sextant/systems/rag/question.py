"""What a question asks for in words: its content, its pairs of neighbouring words, and the kind of
thing it wants to hear.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

_FUNCTION = """
a about an and any are as at be been by can could did do does for from had has have how i if in into
is it its made make many may much no not of on or s should so some such than that the their them
then there these they this to use used was we were what when where which who whom whose why will
with would you your
"""
_FUNCTION_WORDS = frozenset(_FUNCTION.split())
# "The with statement", "an if clause": a word that stands where a noun should is spoken of, and is
# content.
_SPOKEN_OF = re.compile(r"\b(?:the|an?) (and|as|at|by|for|from|if|in|is|not|of|on|or|to|with)\b")
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?:ies|es|s|ing|ed|e)$")

# "For full details refer to section 6", "is equivalent to:": what is wanted stands elsewhere.
_POINTS_ON = re.compile(
    r":$|\b(?:refer to|see also|described in|see (?:the )?(?:section|chapter|appendix)"
    r"|for (?:more|full|further) (?:details|information))\b",
    re.IGNORECASE,
)
# "It was released in 1998.": of what is said in the sentence before.
_LEANS_BACK = re.compile(
    r"(?:he|she|it|they|this|that|these|those|his|her|its|their|such|otherwise|however|therefore"
    r"|thus|hence|instead|then)\b",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|old|far|large|big|tall|often|high|fast|deep|wide)\b"
    r"|\bwhat (?:percent|percentage|number|fraction|amount)\b|\bpopulation\b"
)
_ASKS_DATE = re.compile(
    r"\bwhen\b|\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade|time)\b"
)
_NUMBER = re.compile(
    r"\d+(?:[.,]\d+)*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred"
    r"|thousand|million|billion|half|third|quarter|once|twice)\b"
)
_DATE = re.compile(
    r"\b(?:1\d{3}|20\d\d|january|february|march|april|may|june|july|august|september|october"
    r"|november|december|century|centuries|\d{1,2}(?:st|nd|rd|th)|\d{2,3}0s|bc|ad|monday|tuesday"
    r"|wednesday|thursday|friday|saturday|sunday)\b"
)

Stem = str | tuple[str, str]


class Wanted(StrEnum):
    """The kind of thing that a question wants to hear, where its words give it away."""

    NUMBER = "number"
    DATE = "date"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question's words.

    Attributes:
        text: in lower case.
        words: stems of what is not a function word; of every word, if there is nothing else.
        pairs: neighbouring stems, at least one of them content.
        wanted: the kind of answer, or None.
    """

    text: str
    words: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    wanted: Wanted | None

    @classmethod
    def of(cls, question: str) -> Asked:
        """Reads a question."""
        text = question.lower()
        said = stems(text)
        own = content(text) | set(_SPOKEN_OF.findall(text))
        wanted = None
        if _ASKS_NUMBER.search(text):
            wanted = Wanted.NUMBER
        elif _ASKS_DATE.search(text):
            wanted = Wanted.DATE
        return cls(
            text=text,
            words=frozenset(own or said),
            pairs=frozenset(pair for pair in pairwise(said) if own.intersection(pair)),
            wanted=wanted,
        )

    def lacks_wanted(self, text: str) -> bool:
        """Whether a text cannot be the answer: a number or a date is wanted, and it holds none
        but those of the question.
        """
        if self.wanted is None:
            return False
        pattern = _NUMBER if self.wanted is Wanted.NUMBER else _DATE
        return all(match.group() in self.text for match in pattern.finditer(text.lower()))

    def num_new(self, text: str) -> int:
        """How many content words of a sentence are not the question's own."""
        return sum(len(stem) > 1 for stem in content(text) - self.words)


def points_on(sentence: str) -> bool:
    """Whether a sentence only leads to where something is said: a reference, or a line before an
    example.
    """
    return _POINTS_ON.search(sentence) is not None


def leans_back(sentence: str) -> bool:
    """Whether a sentence means something only after the one before it."""
    return _LEANS_BACK.match(sentence) is not None


def stems(text: str) -> list[str]:
    """Words in lower case without the commonest endings, so that `parses` meets `parse`."""
    return [_stem(word) for word in _WORD.findall(text.lower())]


def content(text: str) -> set[str]:
    """The stems of a text's content words."""
    return {_stem(word) for word in _WORD.findall(text.lower()) if word not in _FUNCTION_WORDS}


def pairs(said: Sequence[str]) -> set[tuple[str, str]]:
    """Neighbouring stems."""
    return set(pairwise(said))


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if len(word) > 4 else word


class Cover:
    """What share of a question's stems a text holds, rare stems counting more.

    A stem weighs log(1 + n / (1/2 + m)) where m of the n sentences hold it. Source: the inverse
    document frequency of Robertson and Zaragoza 2009, over sentences and without its negative part.
    """

    def __init__(self, asked: Iterable[Stem], sentences: Sequence[set[Stem]]) -> None:
        held = Counter(stem for sentence in sentences for stem in sentence)
        n = len(sentences)
        self._weights = {stem: math.log(1 + n / (0.5 + held[stem])) for stem in asked}
        self._whole = sum(self._weights.values()) or 1.0

    def of(self, held: set[Stem]) -> float:
        """The share, from 0 to 1."""
        return sum(w for stem, w in self._weights.items() if stem in held) / self._whole
