"""What is shown while a training runs: the words beside the bar, and TensorBoard's file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from sextant.cli.pretrain_show import ticker
from sextant.decoder.config import DecoderConfig
from sextant.sights.event_file import EventFile, crc32c
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.record import Record


def test_the_sum_is_castagnoli_s() -> None:
    """RFC 3720, appendix B.4: 32 bytes of zeros; and the check value of every catalogue."""
    assert crc32c(b"\0" * 32) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283


def test_a_step_is_shown_and_written_for_tensorboard(tmp_path: Path) -> None:
    model = DecoderConfig(
        vocab=320, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
    )
    job = Job(model=model, data=tmp_path, out=tmp_path, steps=9, batch=4, sequence=32)
    told: list[tuple[int, int, str]] = []
    board = EventFile(tmp_path / "tensorboard", 7.0)
    tick = ticker(job, lambda done, all_, note: told.append((done, all_, note)), board)
    record = Record(tmp_path / RECORD_FILE, clock=lambda: 8.0)
    step = {"loss": 2.5, "gradient_norm": 0.5, "learning_rate": 1e-3, "tokens": 128, "seconds": 0.5}
    record.write("step", step=300, **step, peak_memory_bytes=3 << 30)
    tick()
    record.write("held", step=301, loss_per_token=2.25, bits_per_byte=1.5)
    tick()
    ((done, all_, note),) = told
    assert (done, all_) == (301, 9)
    assert "loss 2.5000, 256 tokens/s" in note
    assert "GB" in note
    (path,) = (tmp_path / "tensorboard").iterdir()
    first, taken, held = events(path.read_bytes())
    assert b"brain.Event:2" in first
    assert struct.pack("<d", 8.0) in taken
    assert b"\x10\xac\x02" in taken  # field 2, a varint: 300
    for tag, value in (("train/loss", 2.5), ("train/tokens_per_s", 256.0)):
        assert tag.encode() + b"\x15" + struct.pack("<f", value) in taken
    assert b"held/bits_per_byte\x15" + struct.pack("<f", 1.5) in held


def test_a_torn_line_and_a_full_disk_end_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = DecoderConfig(
        vocab=320, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=64, context=32
    )
    job = Job(model=model, data=tmp_path, out=tmp_path, steps=9, batch=4, sequence=32)
    board, told = EventFile(tmp_path / "board", 7.0), list[int]()
    path = tmp_path / RECORD_FILE
    path.write_text('{"kind": "step", "ste\n')
    tick = ticker(job, lambda done, _all, _note: told.append(done), board)
    (file,) = (tmp_path / "board").iterdir()
    file.unlink()
    file.mkdir()
    step = {"loss": 2.5, "gradient_norm": 0.5, "learning_rate": 1e-3, "tokens": 128, "seconds": 0.5}
    with path.open("a") as stream:
        stream.write('{"kind": "st\n')
    Record(path).write("step", step=1, **step)
    Record(path).write("trouble", what="no room")
    Record(path).write("step", step=2, **step)
    tick()
    said = capsys.readouterr().err
    assert told == [2, 3]
    assert said.count("TensorBoard") == 1
    assert "warning: no room" in said


def events(data: bytes) -> Iterator[bytes]:
    """The records of a file, their sums checked."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = data[12 : 12 + length]
        for at, part in ((8, data[:8]), (12 + length, event)):
            (masked,) = struct.unpack("<I", data[at : at + 4])
            turned = (masked - 0xA282EAD8) & 0xFFFFFFFF
            assert (turned >> 17 | turned << 15) & 0xFFFFFFFF == crc32c(part)
        yield event
        data = data[16 + length :]
