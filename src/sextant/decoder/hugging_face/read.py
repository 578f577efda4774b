"""The weights of a Hugging Face folder, read part by part from memory-mapped safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.decoder.config import DecoderConfig
from sextant.decoder.hugging_face.config import read_json
from sextant.decoder.hugging_face.names import is_stacked, theirs
from sextant.decoder.sharding import parameter_shapes
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sextant.decoder.model import Decoder
    from sextant.decoder.shards import Slices

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_FORMATS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Weights:
    """The weights of one folder, checked against the sizes in its `config.json`.

    Only headers are read at first: a part of a weight is read when it is asked for.

    Raises:
        InputError: the folder has no safetensors, one of them is corrupt, or a weight is missing,
            of another shape, or unknown; the message names it.
        EngineError: safetensors is not installed.
    """

    def __init__(self, folder: Path, config: DecoderConfig) -> None:
        self._folder, self._config = folder, config
        self._files: dict[str, Any] = {}
        self._place: dict[str, str] = {}
        for file in _weight_files(folder):
            self._open(file)
        self._check()

    @property
    def dtype(self) -> str:
        """The number format of the weights, `float32`, `bfloat16` or `float16`."""
        return _FORMATS[str(self._slice(theirs("embed.weight")).get_dtype())]

    def part(self, name: str, slices: Slices) -> Tensor:
        """Some slices of a parameter, by this decoder's name; only they are read.

        Raises:
            InputError: a number among them is none.
        """
        import torch

        if is_stacked(name):
            experts = range(slices[0].start, slices[0].stop)
            found = torch.stack([self._slice(theirs(name, e))[slices[1:]] for e in experts])
        else:
            found = self._slice(theirs(name))[slices]
        if not torch.isfinite(found).all():
            raise InputError(f"{theirs(name)} is not finite", where=str(self._folder))
        return found

    def _open(self, file: str) -> None:
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError:
            raise missing_engine("safetensors", "pretraining") from None
        path = self._folder / file
        try:
            opened: Any = safe_open(path, framework="pt")
            names = list(opened.keys())
        except FileNotFoundError:
            raise InputError("the index names it, but it is not there", where=str(path)) from None
        except (OSError, SafetensorError) as error:
            raise InputError(f"corrupt: {error}", where=str(path)) from None
        self._files[file] = opened
        for name in names:
            self._place[name] = file

    def _slice(self, name: str) -> Any:
        return self._files[self._place[name]].get_slice(name)

    def _check(self) -> None:
        expected = expected_shapes(self._config)
        ignored = {"lm_head.weight"} if self._config.tied else set()
        strange = {name for name in self._place if not name.endswith(".inv_freq")}
        strange -= set(expected) | ignored
        for what, names in (
            ("is missing", set(expected) - set(self._place)),
            ("is not part of this model", strange),
        ):
            if names:
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                raise InputError(f"{min(names)} {what}{more}", where=str(self._folder))
        for name, shape in expected.items():
            found = self._slice(name)
            if tuple(found.get_shape()) != shape:
                what = f"{name} is {tuple(found.get_shape())}; config.json makes it {shape}"
                raise InputError(what, where=str(self._folder / self._place[name]))
            if str(found.get_dtype()) not in _FORMATS:
                what = f"{name} is {found.get_dtype()}, not one of {', '.join(_FORMATS)}"
                raise InputError(what, where=str(self._folder / self._place[name]))


def _weight_files(folder: Path) -> list[str]:
    if (folder / _INDEX).is_file():
        places = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise InputError("no weight_map", where=str(folder / _INDEX))
        files = sorted({str(file) for file in places.values()})
        for file in files:
            # A name with a path in it could reach outside the folder.
            if Path(file).name != file or not file.endswith(".safetensors"):
                raise InputError(f"not a file of weights: {file[:80]!r}", where=_INDEX)
        return files
    if (folder / _SINGLE).is_file():
        return [_SINGLE]
    if any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        hint = "convert it to safetensors (transformers: save_pretrained)"
        what = "its weights are a pickle, which can run code when it is read"
        raise InputError(what, where=str(folder), hint=hint)
    raise InputError(f"no {_SINGLE} here", where=str(folder))


def expected_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of every weight of a checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in parameter_shapes(config).items():
        if is_stacked(name):
            shapes |= {theirs(name, expert): shape[1:] for expert in range(shape[0])}
        else:
            shapes[theirs(name)] = shape
    return shapes


def load_weights(model: Decoder, weights: Weights) -> None:
    """Fills a model, whole or split in any way, each rank reading its own part only."""
    from sextant.decoder.shards import fill

    def part_of(name: str, _shape: torch.Size, slices: Slices) -> Tensor:
        return weights.part(name, slices)

    fill(model, part_of)
