"""A flight as an animated GIF or an MP4, drawn without a display.

Record and video are streams: however long the flight, only a picture or two are held.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from PIL.GifImagePlugin import getdata, getheader

from sextant.errors import EngineError, InputError, missing_engine
from sextant.systems.swarm.mission.record import FRAME_S, read_record

_SIDE, _MOST_SIDE = 480, 1600
_MOST_FRAMES = 400
_A_SECOND = 2.0 / FRAME_S
"""Pictures a second: a flight is shown twice as fast as it was."""
_TRAIL, _COLOURS = 25, 64
Trails = defaultdict[int, deque[tuple[float, float]]]
_WALL, _DARK, _SEEN = (40, 44, 52), (225, 228, 232), (255, 255, 255)
_HUES = 12


def check_video(out: Path) -> None:
    """Whether a video can be written, to know before the flight.

    Raises:
        InputError: its name ends in neither .gif nor .mp4, or there is no place for it.
        EngineError: it is an .mp4, and nothing that writes one is installed.
    """
    if out.suffix not in (".gif", ".mp4"):
        hint = "--video flight.mp4"
        raise InputError("a video is a .gif or an .mp4", where=str(out), hint=hint)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("no place for a file", where=str(out), hint="in a folder that is there")
    if out.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise missing_engine("imageio-ffmpeg", "swarm")


def write_video(record: Path, out: Path) -> int:
    """Draw a record; returns the number of pictures.

    Raises:
        InputError: the record is none, or the file is to be no video.
        EngineError: what writes an .mp4 is missing, or fails.
    """
    check_video(out)
    frames = sum(line["kind"] == "frame" for line in read_record(record))
    if not frames:
        raise InputError("a record without a frame", where=str(record))
    part = out.with_name(f"{out.stem}.part{out.suffix}")
    write = _write_mp4 if out.suffix == ".mp4" else _write_gif
    count = write(_pictures(record, every=-(-frames // _MOST_FRAMES)), part)
    part.replace(out)
    return count


def _write_gif(pictures: Iterator[Image.Image], out: Path) -> int:
    """Of each picture only what differs from the one before."""
    count, before, lasts_ms = 0, None, round(1000 / _A_SECOND)
    with out.open("wb") as file:
        for picture in pictures:
            box = None
            if before is None:
                header, _ = getheader(picture.quantize(_COLOURS), info={"loop": 0})
                file.write(b"".join(header))
            else:
                # One in which nothing differs lasts as long as any other.
                box = ImageChops.difference(picture, before).getbbox() or (0, 0, 1, 1)
            few = picture.crop(box).quantize(_COLOURS)
            where = (0, 0) if box is None else box[:2]
            data = getdata(few, where, duration=lasts_ms, include_color_table=True)
            file.write(b"".join(data))
            count, before = count + 1, picture
        file.write(b";")
    return count


def _write_mp4(pictures: Iterator[Image.Image], out: Path) -> int:
    import imageio_ffmpeg

    count, first = 0, next(pictures)
    size = first.size
    # The codec halves the colours' size, so both sides must be even; 16 is what it likes best.
    even = (size[0] + -size[0] % 16, size[1] + -size[1] % 16)
    writer = imageio_ffmpeg.write_frames(str(out), even, fps=_A_SECOND, ffmpeg_log_level="error")
    try:
        writer.send(None)
        for picture in chain([first], pictures):
            sheet = Image.new("RGB", even, _WALL)
            sheet.paste(picture)
            writer.send(sheet.tobytes())
            count += 1
        writer.close()
    except (OSError, RuntimeError) as error:
        raise EngineError(f"the video was not written: {error}") from error
    return count


def _pictures(record: Path, every: int) -> Iterator[Image.Image]:
    lines = read_record(record)
    start = next(lines)
    rows, columns = start["rows"], start["columns"]
    scale = min(float(max(1, _SIDE // max(rows, columns))), _MOST_SIDE / max(rows, columns))
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    cells = np.full((rows * columns, 3), _DARK, np.uint8)
    trails: Trails = defaultdict(lambda: deque(maxlen=_TRAIL))
    for number, frame in enumerate(line for line in lines if line["kind"] == "frame"):
        cells[frame["seen"]] = _SEEN
        cells[start["blocked"]] = _WALL
        for name, x, y, *_ in frame["drones"]:
            trails[name].append(_at(start, x, y, scale))
        if number % every:
            continue
        sheet = Image.fromarray(cells.reshape(rows, columns, 3)[::-1])
        image = sheet.resize(size, Image.Resampling.NEAREST)
        _draw(ImageDraw.Draw(image), start, frame, trails, scale)
        yield image


def _draw(
    pen: ImageDraw.ImageDraw,
    start: dict[str, Any],
    frame: dict[str, Any],
    trails: Trails,
    scale: float,
) -> None:
    size = max(3.0, 0.3 / start["cell_m"] * scale)
    for x, y in start["targets"]:
        u, v = _at(start, x, y, scale)
        pen.line((u - size, v, u + size, v), fill=(200, 30, 30))
        pen.line((u, v - size, u, v + size), fill=(200, 30, 30))
    for name, x, y, *_ in frame["drones"]:
        hue = Image.new("HSV", (1, 1), (255 * (name % _HUES) // _HUES, 220, 190)).convert("RGB")
        colour = hue.getpixel((0, 0))
        u, v = _at(start, x, y, scale)
        pen.line([*trails[name], (u, v)], fill=colour, width=1)
        pen.ellipse((u - size, v - size, u + size, v + size), fill=colour)
    pen.text((4, 2), f"{frame['at_s']:.0f} s  {100 * frame['coverage']:.0f}%", fill=(20, 90, 200))


def _at(start: dict[str, Any], x: float, y: float, scale: float) -> tuple[float, float]:
    """Pixels of a place."""
    (left, low), cell_m = start["origin_m"], start["cell_m"]
    return (x - left) / cell_m * scale, (start["rows"] - (y - low) / cell_m) * scale
