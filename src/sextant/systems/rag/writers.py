"""The language models that may answer, an OpenAI-compatible endpoint or a decoder of our own; and
any answerer by its name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, urlsplit

from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline
from sextant.fleet.address import is_loopback
from sextant.systems.rag.answerers import Answerer, Cut, ExtractiveAnswerer, GeneratedAnswerer
from sextant.systems.rag.endpoint import Busy, Call, pieces
from sextant.systems.rag.prompt import Message

if TYPE_CHECKING:
    from sextant.decoder.generator import Generator as Decoder
    from sextant.decoder.generator import Piece
    from sextant.fleet import Fleet

KEY_VARIABLE = "SEXTANT_ANSWERER_KEY"
"""The environment variable with the endpoint's key. A name of our own, so that a key that another
program left in the environment goes nowhere."""
_COMPLETIONS = "/chat/completions"
# An endpoint does not say how long a prompt it takes; this is some 6,000 tokens of English.
_MOST_PROMPT_CHARS = 24_000
_TRIES = 3
_PAUSE_S = 0.2
_CUTS = {"deadline": "it was cut off at the deadline", "length": "it reached its limit on tokens"}


class EndpointWriter:
    """A model behind an OpenAI-compatible endpoint (`POST .../chat/completions`, streamed).

    Args:
        url: with or without `/chat/completions` at its end.
        model: as the endpoint calls it.
        key: sent as a bearer token.
        sleep: waits between two tries.

    Raises:
        InputError: the address is none, or a key would travel in the clear beyond this machine.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = _checked_url(url)
        self._model = model
        self._sleep = sleep
        self._key = key
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "User-Agent": "sextant",
        }
        if key:
            if not (key.isascii() and key.isprintable()):
                raise InputError("the key is not of printable ASCII", where=KEY_VARIABLE)
            if self._url.scheme != "https" and not is_loopback(self._url.hostname or ""):
                raise InputError(
                    "the key would be sent unencrypted",
                    where=url,
                    hint=f"https, or no {KEY_VARIABLE}",
                )
            self._headers["Authorization"] = f"Bearer {key}"

    @property
    def name(self) -> str:
        """See `Writer`."""
        return f"{self._model} at {self._url.netloc}"

    def fits(self, messages: list[Message], new_tokens: int) -> bool:  # noqa: ARG002
        """See `Writer`; by characters, since the endpoint's tokens are its own."""
        return sum(len(message["content"]) for message in messages) <= _MOST_PROMPT_CHARS

    def write(
        self, messages: list[Message], *, new_tokens: int, deadline: Deadline
    ) -> Generator[str, None, None]:
        """See `Writer`. What failed before its first word is tried again, twice at most and only
        while there is time.
        """
        told = {
            "model": self._model,
            "messages": messages,
            "max_tokens": new_tokens,
            "temperature": 0,
            "stream": True,
        }
        call = Call(url=self._url, headers=self._headers, body=json.dumps(told).encode())
        for left in reversed(range(_TRIES)):
            try:
                yield from pieces(call, deadline)
                return
            except Busy as busy:
                pause_s = max(busy.after_s, _PAUSE_S * 2 ** (_TRIES - 1 - left))
                if not left or pause_s >= deadline.left_s():
                    raise EngineError(self._without_key(busy.what)) from None
                self._sleep(pause_s)
            except EngineError as error:
                raise EngineError(self._without_key(error.what)) from None

    def close(self) -> None:
        """Nothing is kept open."""

    def _without_key(self, text: str) -> str:
        """An endpoint may say the key back."""
        return text.replace(self._key, "...") if self._key else text


class DecoderWriter:
    """A causal model of our own decoder, in this process or over ranks; its concurrent callers are
    decoded together.
    """

    def __init__(self, decoder: Decoder, name: str) -> None:
        self._decoder = decoder
        self.name = name

    def fits(self, messages: list[Message], new_tokens: int) -> bool:
        """See `Writer`."""
        prompt = self._decoder.chat(messages)
        # The special tokens of a prompt are not counted; no model adds more than these.
        return self._decoder.count_tokens(prompt) + 4 + new_tokens <= self._decoder.context

    def write(
        self, messages: list[Message], *, new_tokens: int, deadline: Deadline
    ) -> Generator[str, None, None]:
        """See `Writer`."""
        prompt = self._decoder.chat(messages)
        stream = self._decoder.stream(prompt, max_new_tokens=new_tokens, deadline=deadline)
        came = False
        with closing(cast("Generator[Piece, None, None]", stream)):
            for piece in stream:
                came = came or bool(piece.text)
                yield piece.text
                if piece.finish == "deadline" and not came:
                    raise EngineError("no answer by the deadline")
                if piece.finish in _CUTS:
                    raise Cut(_CUTS[piece.finish])

    def close(self) -> None:
        """Ends the model's ranks."""
        self._decoder.close()


def open_answerer(
    spec: str, *, model: str | None = None, ranks: int = 1, fleet: Fleet | None = None
) -> Answerer:
    """Who answers, by name.

    Args:
        spec: `extractive`; `openai:URL`, an OpenAI-compatible endpoint, whose key is read from
            the environment; or `hf:DIR`, the folder of a Hugging Face causal model.
        model: what the endpoint calls the model.
        ranks: processes over which a model of our own is split, on a fleet.
        fleet: where they run.

    Raises:
        InputError: there is no such answerer, or it lacks something.
        EngineError: an engine is missing, or the model's ranks did not come up.
    """
    check_answerer(spec, model)
    kind, _, where = spec.partition(":")
    if kind == "openai":
        key = os.environ.get(KEY_VARIABLE)
        return GeneratedAnswerer(EndpointWriter(where, model or "", key=key))
    if kind == "hf":
        from sextant.decoder import open_generator

        folder = Path(where)
        decoder = open_generator(folder, fleet=fleet if ranks > 1 else None, ranks=ranks)
        return GeneratedAnswerer(DecoderWriter(decoder, folder.resolve().name))
    return ExtractiveAnswerer()


def check_answerer(spec: str, model: str | None) -> None:
    """Whether a spec can name an answerer, before anything is opened.

    Raises:
        InputError: it cannot, or it lacks something.
    """
    kind, _, where = spec.partition(":")
    if kind not in ("extractive", "openai", "hf") or (kind == "extractive") == bool(where):
        raise InputError(
            f"no answerer {spec!r}",
            where="--answerer",
            hint="extractive, openai:URL with --answerer-model NAME, or hf:DIR",
        )
    if kind == "openai" and not model:
        raise InputError("which model of the endpoint?", hint="--answerer-model NAME")
    if kind == "openai":
        _checked_url(where)
    if kind == "hf" and not Path(where).is_dir():
        raise InputError("no such folder", where=where)


def _checked_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"not an address: {error}", where=url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InputError("not an http or https address", where=url)
    if parts.username is not None or parts.password is not None:
        raise InputError("a key does not belong into an address", hint=f"set {KEY_VARIABLE}")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(_COMPLETIONS) else path + _COMPLETIONS)
