"""Text to tokens: whole, in order, split, folded, resumable."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from sextant.errors import InputError
from sextant.systems.pretraining import prepare as room
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.text import PIECE_CHARS, Source, pieces
from sextant.systems.pretraining.tokens import Tokens

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "boils"]


def text(lines: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    return "".join(" ".join(rng.choice(WORDS, 12)) + f" {i}.\r\n" for i in range(lines))


def silent(done: int, whole: int) -> None:
    assert 0 <= done <= whole


def wish(*paths: Path, **options: object) -> Wish:
    sources = tuple(Source(path=path) for path in paths)
    return Wish(sources=sources, num_ids=400, **{"held_fraction": 0.2, **options})


def decoded(tokens: Tokens, split: str) -> list[str]:
    """Every piece of one side of the split, as text."""
    out = []
    tokenizer = tokens.tokenizer()
    for part in tokens.card.parts:
        if part.split != split:
            continue
        for shard in part.shards:
            ids = np.fromfile(tokens.folder / f"{shard.file}.bin", tokens.card.dtype)
            ends = np.fromfile(tokens.folder / f"{shard.file}.ends", np.int64)
            assert len(ends) == shard.pieces
            assert all(ids[end - 1] == tokens.card.end_id for end in ends)
            out += [
                tokenizer.decode(ids[a : b - 1].tolist())
                for a, b in zip([0, *ends[:-1]], ends, strict=True)
            ]
    return out


def test_every_character_comes_back_on_one_side_or_the_other(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(text(4000).encode())
    whole = list(pieces([book], lambda what: pytest.fail(what)))
    assert len(whole) > 5
    assert "".join(whole) == book.read_bytes().decode()
    assert max(map(len, whole)) <= 1.5 * PIECE_CHARS
    prepare(wish(book), tmp_path / "out", silent)
    tokens = Tokens.open(tmp_path / "out")
    train, held = decoded(tokens, "train"), decoded(tokens, "held")
    assert sorted(train + held) == sorted(whole)
    assert train
    assert held
    assert sum(part.text_bytes for part in tokens.card.parts) == book.stat().st_size


def test_jsonl_and_parquet_and_duplicates(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    records = [json.dumps({"text": f"record {i % 40} " + text(2, i % 40)}) for i in range(60)]
    (corpus / "a.jsonl").write_text("\n".join([*records, "{", '{"no": "text"}']))
    table = pa.table({"text": [f"row {i} " + text(2, 100 + i) for i in range(30)]})
    parquet.write_table(table, corpus / "b.parquet")
    card = prepare(wish(corpus, held_fraction=0.0), tmp_path / "out", silent)
    assert card.duplicates == 20
    assert len(card.troubles) == 2
    assert len(decoded(Tokens.open(tmp_path / "out"), "train")) == 70


def test_a_killed_run_goes_on_to_the_same_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(text(12_000).encode())
    monkeypatch.setattr(room, "_BATCH_PIECES", 2)
    monkeypatch.setattr(room, "_SAVE_CHARS", 50_000)
    prepare(wish(book, shard_tokens=30_000), tmp_path / "whole", silent)
    calls = 0

    def killed(*_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt

    for _ in range(2):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            prepare(wish(book, shard_tokens=30_000), tmp_path / "out", killed)
        assert not (tmp_path / "out").exists()
    prepare(wish(book, shard_tokens=30_000), tmp_path / "out", silent)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sum(name.endswith(".bin") for name in names) > 4
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_same_again_is_done_already_and_something_else_is_refused(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(text(3000).encode())
    card = prepare(wish(book), tmp_path / "out", silent)
    assert prepare(wish(book), tmp_path / "out", lambda *_: pytest.fail("worked again")) == card
    with pytest.raises(InputError, match="holds something else"):
        prepare(wish(book, held_fraction=0.5), tmp_path / "out", silent)


def test_any_tokenizer_may_be_given(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(text(3000).encode())
    first = prepare(wish(book), tmp_path / "first", silent)
    second = prepare(wish(book, tokenizer=tmp_path / "first"), tmp_path / "second", silent)
    assert second.tokenizer_sha256 == first.tokenizer_sha256
    assert second.parts == first.parts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "no text"),
        ("blank.txt", b" \n" * 99, "no text"),
        ("binary.txt", b"\x7fELF\0\0\0", "binary"),
        ("bad.parquet", b"PAR1 no", "not a Parquet file"),
    ],
)
def test_bad_corpora(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        prepare(wish(tmp_path / name), tmp_path / "out", silent)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    (tmp_path / "book.txt").write_text("some text")
    for tokenizer in (tmp_path / "t.json", tmp_path / "nowhere.json"):
        with pytest.raises(InputError, match="tokenizer"):
            prepare(wish(tmp_path / "book.txt", tokenizer=tokenizer), tmp_path / "out", silent)


def test_torn_and_corrupt_shards_are_named(tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_bytes(text(3000).encode())
    prepare(wish(book), tmp_path / "out", silent)
    shard = tmp_path / "out" / "train-00-00000.bin"
    good = shard.read_bytes()
    shard.write_bytes(good[:100] + b"\1\1" + good[102:])
    with pytest.raises(InputError, match=r"train-00-00000.bin: corrupt"):
        Tokens.open(tmp_path / "out")
    shard.write_bytes(good[:-2])
    with pytest.raises(InputError, match=r"train-00-00000.bin: torn"):
        Tokens.open(tmp_path / "out", verify=False)


def test_weights_on_the_command_line(tmp_path: Path) -> None:
    assert Source.parse("a.txt=0.3") == Source(path=Path("a.txt"), weight=0.3)
    assert Source.parse("a.txt") == Source(path=Path("a.txt"))
    odd = tmp_path / "a=b"
    odd.touch()
    assert Source.parse(str(odd)) == Source(path=odd)
    with pytest.raises(InputError, match="not a weight"):
        Source.parse("a.txt=much")
