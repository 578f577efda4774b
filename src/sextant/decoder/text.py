"""A model's own tokenizer and chat template, and text out of tokens as they come."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sextant.decoder.hugging_face.config import read_json
from sextant.errors import InputError, missing_engine

_UNFINISHED = "\ufffd"
"""What a tokenizer makes of bytes that are no whole character yet."""
_LARGEST_TEMPLATE = 1_000_000


class Text:
    """Reads `tokenizer.json`, and a chat template where there is one.

    Raises:
        InputError: there is no tokenizer in the folder, or it is damaged.
        EngineError: tokenizers is not installed.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise InputError("no tokenizer.json here", where=str(folder))
        # Its own threads would fight torch's for the cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise missing_engine("tokenizers", "pretraining") from None
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001  it raises nothing narrower
            raise InputError(f"damaged: {str(error)[:200]}", where=str(path)) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._settings = _optional_json(folder / "tokenizer_config.json")
        self._template = _template(folder, self._settings)

    @property
    def vocab(self) -> int:
        """Tokens that it knows, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, with the special tokens that belong to it."""
        first = self._special("bos_token")
        # A chat template has written the first token already; twice would be another prompt.
        begun = bool(first) and text.startswith(first)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=not begun).ids
        return ids

    def count(self, text: str) -> int:
        """How many tokens a text takes, special ones left out."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens, special ones left out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt of a conversation; without a template the contents with blank lines between.

        Raises:
            InputError: the template refuses these messages, or does not work.
        """
        if self._template is None:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            from jinja2 import TemplateError
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError:
            raise missing_engine("jinja2 (for chat templates)", "pretraining") from None

        def refuse(message: str) -> None:
            raise TemplateError(message)

        # The template comes with the weights, from wherever they come: it runs in a sandbox.
        jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        jinja.globals["raise_exception"] = refuse
        special = {name: self._special(name) for name in ("bos_token", "eos_token", "pad_token")}
        try:
            return jinja.from_string(self._template).render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                **special,
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise InputError(f"the chat template: {str(error)[:200]}", where="messages") from None

    def _special(self, name: str) -> str:
        token = self._settings.get(name)
        if isinstance(token, dict):
            token = token.get("content")
        return token if isinstance(token, str) else ""


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")[:_LARGEST_TEMPLATE]
    template = settings.get("chat_template")
    if isinstance(template, list):  # several by name
        named = {item.get("name"): item.get("template") for item in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


class Spelling:
    """Text out of tokens, as they come: what it has given stays, whatever comes next.

    It keeps back bytes of half a character, and what may be the beginning of a stop string.
    """

    def __init__(self, text: Text, stop: Sequence[str] = ()) -> None:
        self._text, self._stop = text, tuple(s for s in stop if s)
        self._tokens: list[int] = []
        self._given = 0
        self.stopped = False
        """Whether a stop string came; nothing is given after it."""

    def add(self, token: int) -> str:
        """What can be said now that this token came."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        whole = self._text.decode(self._tokens)
        since = (whole.find(stop, max(0, self._given - len(stop))) for stop in self._stop)
        found = [at for at in since if at >= 0]
        if found:
            self.stopped = True
            return self._give(whole, min(found))
        return self._give(whole, len(whole) - self._kept_back(whole))

    def rest(self) -> str:
        """What was kept back, at the end."""
        if self.stopped:
            return ""
        whole = self._text.decode(self._tokens)
        return self._give(whole, len(whole))

    def _give(self, whole: str, upto: int) -> str:
        said = whole[self._given : upto]
        self._given = max(self._given, upto)
        return said

    def _kept_back(self, whole: str) -> int:
        most = 0
        for stop in self._stop:
            most = max(most, *(n for n in range(len(stop)) if whole.endswith(stop[:n])))
        if whole.endswith(_UNFINISHED):
            most = max(most, len(whole) - len(whole.rstrip(_UNFINISHED)))
        return most
