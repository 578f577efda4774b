"""The text of a PDF, page by page; runs in the reading process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sextant.errors import InputError, missing_engine


def read_pdf(path: Path, options: dict[str, Any]) -> Iterator[tuple[str, Any]]:  # noqa: ARG001
    """First `title`, then a `page` with its text for each page.

    Raises:
        InputError: the file is locked by a password.
        EngineError: pypdf is not installed.
    """
    try:
        from pypdf import PdfReader
    except ImportError:
        raise missing_engine("pypdf", "rag") from None
    # It reports what it mends in a file; that is nobody's concern here.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise InputError("is locked by a password")
    metadata = reader.metadata
    title = metadata.title if metadata is not None else None
    yield "title", str(title).strip() if title else ""
    for page in reader.pages:
        yield "page", page.extract_text()
