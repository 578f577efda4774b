"""PDF and Parquet: read, and where a file is broken or hostile, bounded and named."""

from __future__ import annotations

import datetime
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sextant.errors import InputError
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.records import MOST_FIELD_CHARS, MOST_FIELDS, Columns, to_document
from sextant.systems.rag.untrusted import parent
from sextant.systems.rag.untrusted.parent import UntrustedReader

SAYS = b"BT /F1 12 Tf 72 700 Td (The tide turns at noon.) Tj ET"


def pdf(*pages: bytes, filters: bytes = b"", title: bytes = b"On tides") -> bytes:
    """A PDF with these pages' drawing orders."""
    first = 5
    kids = b" ".join(b"%d 0 R" % (first + 2 * n) for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title (%s) >>" % title,
    ]
    for number, content in enumerate(pages):
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (first + 2 * number + 1),
            b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), filters, content),
        ]
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return (
        out + b"xref\n0 %d\n0000000000 65535 f \n" % size + table
        + b"trailer << /Size %d /Root 1 0 R /Info 4 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (size, len(out))
    )  # fmt: skip


def bomb() -> bytes:
    """A page of a gigabyte, in a megabyte."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(1024)) + packer.flush()
    return pdf(packed, filters=b"/Filter /FlateDecode")


@pytest.fixture(scope="module")
def untrusted() -> Iterator[UntrustedReader]:
    with UntrustedReader() as reader:
        yield reader


def test_a_pdf_is_a_document(tmp_path: Path, untrusted: UntrustedReader) -> None:
    path = tmp_path / "tides.pdf"
    path.write_bytes(pdf(SAYS, SAYS.replace(b"noon", b"night")))
    assert untrusted.pdf(path, "a/tides.pdf", Troubles()) == Document(
        "a/tides.pdf", "On tides", "The tide turns at noon.\n\nThe tide turns at night."
    )
    path.write_bytes(pdf(SAYS, title=b""))
    assert untrusted.pdf(path, "b", Troubles()).title == "tides"
    path.write_bytes(pdf(b""))
    troubles = Troubles()
    assert untrusted.pdf(path, "c", troubles).text == ""
    assert "without text" in troubles.lines()[0]


@pytest.mark.parametrize(
    "data",
    [b"", b"%PDF-1.4\n", b"no PDF at all", bytes(range(256)) * 9, pdf(SAYS)[:-200], bomb()],
    ids=["empty", "header", "other", "noise", "torn", "bomb"],
)
def test_a_broken_or_hostile_pdf_is_named_and_the_rest_is_read(
    tmp_path: Path, data: bytes, untrusted: UntrustedReader
) -> None:
    (tmp_path / "a.pdf").write_bytes(data)
    (tmp_path / "b.pdf").write_bytes(pdf(SAYS))
    with pytest.raises(InputError) as raised:
        untrusted.pdf(tmp_path / "a.pdf", "a", Troubles())
    assert raised.value.what.startswith("is broken")
    assert untrusted.pdf(tmp_path / "b.pdf", "b", Troubles()).text == "The tide turns at noon."


def test_a_folder_goes_on_after_what_is_broken_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\nnothing")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no PAR1")
    (tmp_path / "c.pdf").write_bytes(pdf(SAYS))
    troubles = Troubles()
    found = list(open_corpus(str(tmp_path)).documents(troubles))
    assert [one.id for one in found] == ["c.pdf"]
    assert sum(troubles.counts.values()) == 2
    assert str(tmp_path / "a.pdf") in troubles.lines()[0]
    for name in ("a.pdf", "b.parquet"):
        with pytest.raises(InputError, match="is broken") as raised:
            list(open_corpus(str(tmp_path / name)).documents(Troubles()))
        assert name in str(raised.value.where)


def test_a_reader_that_hangs_or_dies_costs_that_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(SAYS))
    with UntrustedReader(step_s=0.0) as reader, pytest.raises(InputError, match="takes over 0 s"):
        reader.pdf(path, "a", Troubles())
    with UntrustedReader() as reader:
        assert reader.pdf(path, "a", Troubles()).text
        assert reader._process is not None
        reader._process.kill()
        reader._process.wait()
        with pytest.raises(InputError, match=r"crashes|ended"):
            reader.pdf(path, "a", Troubles())
        assert reader.pdf(path, "a", Troubles()).text


def test_a_pdf_of_too_much_text_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrusted: UntrustedReader
) -> None:
    monkeypatch.setattr(parent, "MOST_TEXT_CHARS", 30)
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf(*[SAYS] * 5))
    with pytest.raises(InputError, match="too large"):
        untrusted.pdf(path, "a", Troubles())
    path.write_bytes(pdf(SAYS))
    assert untrusted.pdf(path, "a", Troubles()).text


def table(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    day = datetime.date(2026, 11, 22)
    path = table(
        tmp_path / "t.parquet",
        doc_id=[7, 8, None],
        Title=["one", None, "three"],
        body=["first text", "second", "third"],
        year=[1999, None, 2001],
        day=[day, day, None],
        share=[0.5, float("nan"), 1.0],
        groups=[["crew", "captain"], [], None],
        image=[b"\0", b"\1", b"\2"],
    )
    found = list(open_corpus(str(path)).documents(Troubles()))
    assert found == [
        Document(
            "7", "one", "first text",
            {"year": 1999, "day": "2026-11-22", "share": 0.5}, ("crew", "captain"),
        ),
        Document("8", "", "second", {"day": "2026-11-22"}),
        Document("t.parquet:3", "three", "third", {"year": 2001, "share": 1.0}),
    ]  # fmt: skip
    (tmp_path / "more").mkdir()
    path.rename(tmp_path / "more" / "t.parquet")
    assert [one.id for one in open_corpus(str(tmp_path)).documents(Troubles())] == [
        "more/t.parquet#7", "more/t.parquet#8", "more/t.parquet#t.parquet:3",
    ]  # fmt: skip


def test_columns_are_found_or_named(tmp_path: Path) -> None:
    one = table(tmp_path / "one.parquet", n=[1], prose=["only this is text"])
    assert [d.text for d in open_corpus(str(one)).documents(Troubles())] == ["only this is text"]
    two = table(tmp_path / "two.parquet", prose=["a"], verse=["b"], key=["k"])
    with pytest.raises(InputError, match="known to hold the text") as raised:
        list(open_corpus(str(two)).documents(Troubles()))
    assert "--text NAME, one of prose, verse, key" in str(raised.value.hint)
    with pytest.raises(InputError, match="no column 'poem'") as raised:
        list(open_corpus(str(two), columns=Columns(text="poem")).documents(Troubles()))
    assert "prose" in str(raised.value.hint)
    named = Columns(text="verse", id="key", title="prose")
    assert list(open_corpus(str(two), columns=named).documents(Troubles())) == [
        Document("k", "a", "b")
    ]


@pytest.mark.parametrize("damage", ["torn", "flipped", "footer", "none"])
def test_a_broken_parquet_file_is_named(tmp_path: Path, damage: str) -> None:
    path = table(tmp_path / "t.parquet", text=[f"text {n}" for n in range(2000)])
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "torn": data[:-30],
            "flipped": bytes(byte ^ 0x5A for byte in data[:middle]) + data[middle:],
            "footer": data[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
            "none": b"PAR1",
        }[damage]
    )
    with pytest.raises(InputError, match="is broken") as raised:
        list(open_corpus(str(path)).documents(Troubles()))
    assert str(path) in str(raised.value)


def swollen(tmp_path: Path, num_bytes: int) -> Path:
    """One value of so many bytes, packed into a few kilobytes."""
    path = tmp_path / "t.parquet"
    text = pa.array(["x" * num_bytes], pa.large_string())
    pq.write_table(pa.table({"text": text}), path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < num_bytes // 100
    return path


def test_a_parquet_value_that_swells_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = swollen(tmp_path, 8 << 20)
    monkeypatch.setattr(parent, "MOST_TEXT_CHARS", 4 << 20)
    troubles = Troubles()
    with pytest.raises(InputError, match="no document with text"):
        list(open_corpus(str(path)).documents(troubles))
    assert "text over 4 Mi characters" in troubles.lines()[0]
    monkeypatch.setattr(parent, "MOST_MESSAGE_BYTES", 1 << 20)
    with pytest.raises(InputError, match="too large to read"):
        list(open_corpus(str(path)).documents(Troubles()))


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    path = swollen(tmp_path, 128 << 20)
    with (
        UntrustedReader(memory_bytes=600 << 20) as reader,
        pytest.raises(InputError, match=r"memory|is broken"),
    ):
        list(reader.parquet(path, Columns(), Troubles()))


def record(**values: object) -> tuple[Document | None, list[str]]:
    troubles = Troubles()
    return to_document({"text": "t", **values}, Columns(), "unnamed", "here", troubles), (
        troubles.lines()
    )


@pytest.mark.parametrize(
    ("groups", "read"),
    [
        (None, ()),
        ([], ()),
        ("crew", ("crew",)),
        (["crew", "captain", "crew"], ("crew", "captain")),
    ],
)
def test_groups_say_who_may_read(groups: object, read: tuple[str, ...]) -> None:
    document, _ = record(groups=groups)
    assert document is not None
    assert document.groups == read


@pytest.mark.parametrize("groups", [1, True, {}, {"crew": 1}, [1], ["crew", None], [[]], "", [""]])
def test_groups_that_cannot_be_read_let_nobody_read(groups: object) -> None:
    document, said = record(groups=groups)
    assert document is None
    assert "groups" in said[0]


def test_plain_values_become_fields() -> None:
    document, said = record(
        id="a", title="T", year=1999, ok=True, share=0.5, tags=["x"], deep={"y": 1}, none=None,
        huge=10**30, odd=float("inf"), long="x" * (MOST_FIELD_CHARS + 1),
        metadata={"lang": "de", "year": 1},
    )  # fmt: skip
    assert document is not None
    assert document.fields == {"lang": "de", "year": 1999, "ok": True, "share": 0.5}
    assert len(said) == 1
    assert "long" in said[0]
    document, said = record(**{f"f{n}": n for n in range(MOST_FIELDS + 1)})
    assert document is not None
    assert len(document.fields) == MOST_FIELDS
    assert "fields" in said[0]


def test_fields_and_groups_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    told = {"id": 1, "prose": "text", "year": 1999, "groups": ["crew"]}
    path.write_text(json.dumps(told) + "\n")
    corpus = open_corpus(str(path), columns=Columns(text="prose"))
    assert list(corpus.documents(Troubles())) == [
        Document("1", "", "text", {"year": 1999}, ("crew",))
    ]
