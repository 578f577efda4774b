"""Writes a model as a Hugging Face folder; either all of it appears, or nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.decoder.config import DecoderConfig
from sextant.decoder.hugging_face.config import config_json
from sextant.decoder.hugging_face.names import is_stacked, theirs
from sextant.decoder.sharding import parameter_shapes
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from torch import Tensor

_FILE_BYTES = 4 << 30


def export(
    config: DecoderConfig,
    parameter: Callable[[str], Tensor],
    folder: Path,
    *,
    dtype: str = "float32",
    special: Mapping[str, int] | None = None,
    beside: Sequence[Path] = (),
    file_bytes: int = _FILE_BYTES,
) -> None:
    """Writes `config.json`, safetensors and what belongs beside them.

    Args:
        config: the sizes.
        parameter: gives a whole parameter by name; asked once for each, in the model's order.
        folder: where; must not exist yet, or be empty.
        dtype: of the weights written, `float32` or `bfloat16`.
        special: ids of special tokens, for `config.json`.
        beside: files to copy into the folder, such as `tokenizer.json`.
        file_bytes: a file of weights is not begun anew before it holds so much.

    Raises:
        InputError: something is there already, or no known layout holds this model.
        EngineError: safetensors is not installed.
    """
    described = config_json(config, dtype=dtype, special=special or {})
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("something is there already", where=str(folder), hint="another folder")
    building = folder.with_name(f"{folder.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        _write_weights(config, parameter, building, dtype, file_bytes)
        _write_json(building / "config.json", described)
        for path in beside:
            shutil.copyfile(path, building / path.name)
        for path in building.iterdir():
            _sync(path)
        _sync(building)
        building.replace(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _write_weights(
    config: DecoderConfig,
    parameter: Callable[[str], Tensor],
    folder: Path,
    dtype: str,
    file_bytes: int,
) -> None:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise missing_engine("safetensors", "pretraining") from None
    import torch

    held: dict[str, Tensor] = {}
    places: dict[str, int] = {}
    num, total = 1, 0

    def put(name: str, weight: Tensor) -> None:
        nonlocal num, total
        weight = weight.detach().to(getattr(torch, dtype)).cpu().contiguous()
        if held and sum(w.nbytes for w in held.values()) + weight.nbytes > file_bytes:
            save_file(held, folder / f"{num}.part", {"format": "pt"})
            held.clear()
            num += 1
        held[name], places[name] = weight, num
        total += weight.nbytes

    for name in parameter_shapes(config):
        whole = parameter(name)
        if is_stacked(name):
            for expert, weight in enumerate(whole):
                put(theirs(name, expert), weight.clone())
        else:
            put(theirs(name), whole)
    save_file(held, folder / f"{num}.part", {"format": "pt"})
    _name_files(folder, num, places, total)


def _name_files(folder: Path, num: int, places: Mapping[str, int], total: int) -> None:
    """Gives the files the names that readers expect, which say how many there are."""
    if num == 1:
        (folder / "1.part").rename(folder / "model.safetensors")
        return
    names = {at: f"model-{at:05d}-of-{num:05d}.safetensors" for at in range(1, num + 1)}
    for at, name in names.items():
        (folder / f"{at}.part").rename(folder / name)
    index = {
        "metadata": {"total_size": total},
        "weight_map": {name: names[at] for name, at in places.items()},
    }
    _write_json(folder / "model.safetensors.index.json", index)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
