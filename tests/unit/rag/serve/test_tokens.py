"""Tokens out of a file: what is read, what is refused, and whom a header speaks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.fleet.address import is_loopback
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.tokens import Tokens, is_open_to_others

STAFF, PLAIN, CHIEF = "staff-token-0123456", "plain-token-0123456", "chief-token-0123456"
SHARP = "sharp#token#0123456"
FILE = f"""
# who may ask
  # two groups
{STAFF} staff hr
{PLAIN}
{CHIEF} *
{SHARP} r#d
"""


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    path = tmp_path / "tokens"
    path.write_text(FILE)
    return Tokens.read(path)


def test_a_token_stands_for_its_groups(tokens: Tokens) -> None:
    assert len(tokens) == 4
    assert tokens.caller(f"Bearer {STAFF}").groups == ("staff", "hr")
    assert tokens.caller(f"bearer  {PLAIN}").groups == ()
    assert tokens.caller(f"Bearer {CHIEF}").groups is None
    assert [tokens.caller(f"Bearer {t}").trusted for t in (STAFF, PLAIN, CHIEF)] == [
        False,
        False,
        True,
    ]


def test_a_sharp_within_a_line_is_part_of_a_word(tokens: Tokens) -> None:
    assert tokens.caller(f"Bearer {SHARP}").groups == ("r#d",)
    with pytest.raises(Refusal):
        tokens.caller(f"Bearer {SHARP.partition('#')[0]}")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", f"Basic {STAFF}", STAFF, f"Bearer {STAFF}x", "Bearer *",
     f"Bearer {STAFF[:-1]}", f"Bearer {STAFF} hr", "Bearer staff", "Bearer \udcff"],
)  # fmt: skip
def test_anything_else_is_refused_without_saying_what_was_near(
    tokens: Tokens, header: str | None
) -> None:
    with pytest.raises(Refusal) as refused:
        tokens.caller(header)
    assert refused.value.status == 401
    assert refused.value.headers() == {"WWW-Authenticate": "Bearer"}
    assert STAFF not in str(refused.value.as_json())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no token"),
        ("# nothing\n\n", "no token"),
        ("short staff", "not a token"),
        ("dix-sept-caractères staff", "not a token"),
        (f"{STAFF} a\n{STAFF} b", "twice"),
        (f"{STAFF} * staff", "alone"),
        (f"{STAFF} staff *", "alone"),
        (f"{STAFF} staff # he left", "comment"),
        (f"{STAFF}  #none", "comment"),
    ],
)
def test_a_wrong_file_is_refused_and_no_token_shown(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(InputError, match=what) as error:
        Tokens.read(path)
    for word in text.split():
        if len(word) > 8:
            assert word not in f"{error.value} {error.value.hint}"


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        Tokens.read(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        Tokens.read(tmp_path / "latin")


def test_a_file_that_others_can_read_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(FILE)
    path.chmod(0o644)
    assert is_open_to_others(path)
    path.chmod(0o600)
    assert not is_open_to_others(path)


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("example.org", False),
     ("localhost.example.org", False), ("127.0.0.1.example.org", False), ("", False)],
)  # fmt: skip
def test_loopback_is_told_from_everything_else(host: str, is_one: bool) -> None:
    assert is_loopback(host) is is_one
