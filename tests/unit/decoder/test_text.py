"""Text in and out: chat templates, special tokens, and text that only ever grows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from sextant.decoder.text import Spelling, Text
from sextant.errors import InputError

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is the cat?"},
]


def test_a_conversation_is_written_by_the_models_template(small: Path) -> None:
    text = Text(small)
    prompt = text.chat(MESSAGES)
    assert prompt == "<s>[system] Be brief.\n[user] Where is the cat?\n[assistant]"
    ids = text.encode(prompt)
    assert ids.count(0) == 1
    assert text.decode(ids) == prompt.removeprefix("<s>")
    assert text.count("Where is the cat?") == len(text.encode("Where is the cat?"))


def test_a_template_may_refuse(small: Path) -> None:
    with pytest.raises(InputError, match="only users and systems"):
        Text(small).chat([{"role": "tool", "content": "x"}])


def test_a_template_cannot_reach_out_of_its_sandbox(small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "tokenizer.json", tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(InputError, match="unsafe"):
        Text(tmp_path).chat(MESSAGES)


def test_without_a_template_the_contents_stand_alone(small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "tokenizer.json", tmp_path)
    assert Text(tmp_path).chat(MESSAGES) == "Be brief.\n\nWhere is the cat?\n\n"


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tokenizer\.json"):
        Text(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="damaged"):
        Text(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()


def test_a_named_template_is_found_in_a_list(small: Path, tmp_path: Path) -> None:
    shutil.copy(small / "tokenizer.json", tmp_path)
    named = [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert Text(tmp_path).chat(MESSAGES) == "D"


@pytest.mark.parametrize("said", ["the cat sat on the mat", "naïve 🐈 → ☂ wind", "日本語"])
def test_pieces_add_up_to_the_text(small: Path, said: str) -> None:
    text = Text(small)
    spelling = Spelling(text)
    pieces = [spelling.add(token) for token in text.encode(said)]
    assert "".join([*pieces, spelling.rest()]) == said
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_stop_string_ends_the_text_wherever_tokens_part_it(small: Path) -> None:
    text = Text(small)
    spelling = Spelling(text, stop=["e mat an", "never"])
    pieces = []
    for token in text.encode("the cat sat on the mat and the dog ran"):
        pieces.append(spelling.add(token))
        if spelling.stopped:
            break
    assert "".join(pieces) + spelling.rest() == "the cat sat on th"


def test_what_only_began_like_a_stop_string_is_said_after_all(small: Path) -> None:
    text = Text(small)
    spelling = Spelling(text, stop=["mat or"])
    pieces = [spelling.add(token) for token in text.encode("on the mat and")]
    assert "".join(pieces) + spelling.rest() == "on the mat and"
