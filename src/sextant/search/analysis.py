"""From text to terms, in one way for passages and for questions: what lexical search matches."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from typing import Any

from sextant.errors import missing_engine

ANALYSIS = "english/1"
"""The name of this way; a segment remembers by which its terms were made."""
_STOPPED = """
a an and are as at be but by for if in into is it no not of on or such that the their then there
these they this to was will with
"""
STOP_WORDS = frozenset(_STOPPED.split())
"""Words that say nothing of a text. Source: Lucene's EnglishAnalyzer."""
LONGEST_TERM = 64
"""Characters; of what is longer (a key, a line of base64) the beginning is kept."""
# Chinese, Japanese and Korean are written without spaces.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")
_local = threading.local()


def terms(text: str) -> list[str]:
    """The terms of a text in its order, repeated as they come.

    Words in one case and one Unicode form (NFKC), without the commonest, each cut to its stem by
    Snowball's English stemmer; `snake_case` is two words. Runs of Chinese, Japanese and Korean give
    their pairs of neighbouring characters.
    """
    words = list(_words(unicodedata.normalize("NFKC", text).casefold()))
    stems: list[str] = _stemmer().stemWords(words)
    return stems


def _words(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match.group()
        if _IS_CJK.match(word):
            yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))
        elif word not in STOP_WORDS:
            yield word[:LONGEST_TERM]


def _stemmer() -> Any:
    """This thread's stemmer: one may not be shared."""
    if not hasattr(_local, "stemmer"):
        try:
            import Stemmer
        except ImportError:
            raise missing_engine("PyStemmer", "rag") from None
        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer
