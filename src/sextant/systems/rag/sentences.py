"""Where sentences and paragraphs end, as character offsets into the text itself."""

from __future__ import annotations

import re

# A blank line; or a full stop, with what may close it, before white space and something that may
# begin a sentence. Common abbreviations and initials do not end one.
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(
    r"(?<!\b[A-Z])(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)(?<!\bDr)(?<!\bMr)(?<!\bSt)(?<!\bal)(?<!\bFig)"
    r"(?<!\bMrs)(?<!\bNo)[.!?][\"')\]”’]*\s+(?=[\"'(\[“‘]?[A-Z0-9`*])"
)
_CODE = re.compile(r"[{}\[\]<>|=\\$]")
_FEW = 2
_MOST_CODE = 0.01


def is_prose(text: str) -> bool:
    """Whether a sentence is words, not markup, a table or code: few of their signs."""
    return "```" not in text and len(_CODE.findall(text)) <= max(_FEW, _MOST_CODE * len(text))


def paragraph_starts(text: str) -> list[int]:
    """Where each paragraph but the first begins."""
    return [match.end() for match in _PARAGRAPH.finditer(text) if match.end() < len(text)]


def sentence_starts(text: str) -> list[int]:
    """Where each sentence but the first begins, beginnings of paragraphs included; rising."""
    ends = {match.end() for match in _SENTENCE.finditer(text)}
    return sorted(end for end in ends.union(paragraph_starts(text)) if end < len(text))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """The sentences as (start, end) without the white space around them; empty ones left out."""
    starts = [0, *sentence_starts(text)]
    spans = zip(starts, [*starts[1:], len(text)], strict=True)
    return [span for span in (strip_span(text, *span) for span in spans) if span[0] < span[1]]


def strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
