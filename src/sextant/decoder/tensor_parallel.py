"""One rank's model for answering: its part of every matrix by the table, joined by collectives.

Training splits with DTensor, whose dispatch costs more on small steps than the step. Here a rank
holds plain tensors, and hooks join what the parts compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sextant.decoder.config import DecoderConfig
from sextant.decoder.model import Decoder
from sextant.decoder.sharding import Row, Style, row_of
from sextant.decoder.shards import Slices, named_parameters
from sextant.errors import InputError

PartOf = Callable[[str, Slices], Tensor]


def check_ranks(config: DecoderConfig, ranks: int) -> None:
    """Whether a model divides.

    Raises:
        InputError: it does not; the message names what, and which numbers of ranks do.
    """
    sizes = {"heads": config.heads, "kv_heads": config.kv_heads, "ffn": config.ffn}
    if config.experts:
        sizes["experts"] = config.experts
    uneven = [f"{size} {name}" for name, size in sizes.items() if size % ranks]
    if uneven:
        fits = [n for n in range(1, 65) if not any(size % n for size in sizes.values())]
        hint = f"ranks that do: {', '.join(map(str, fits))}"
        raise InputError(f"{ranks} ranks do not divide {uneven[0]}", where="ranks", hint=hint)


def rank_model(
    config: DecoderConfig, rank: int, ranks: int, part_of: PartOf, dtype: torch.dtype
) -> Decoder:
    """The model of one rank, ready to answer; its `config` has the rank's own heads.

    Args:
        config: of the whole model.
        rank: which of the ranks this is.
        ranks: how many there are; several need a default process group once it is called.
        part_of: reads some slices of a parameter.
        dtype: number format of the weights.

    Raises:
        InputError: the model does not divide by the ranks.
    """
    check_ranks(config, ranks)
    with torch.device("meta"):
        model = Decoder(config)
    # A vocabulary that does not divide is left whole: it is one matrix of many.
    whole_vocab = config.vocab % ranks != 0
    rows = _Rows(config, rank, ranks, whole_vocab)
    for name, parameter in list(named_parameters(model)):
        # One parameter at a time, so that a whole model is never in memory.
        part = part_of(name, rows.slices(name, parameter.shape)).to(dtype)
        _replace(model, name, part)
    if config.tied and model.head is not None and model.embed is not None:
        weight = model.embed.weight
        if ranks > 1 and not whole_vocab:
            weight = weight[rows.span(config.vocab)]
        model.head.weight = nn.Parameter(weight, requires_grad=False)
    _materialize_tables(model)
    if ranks > 1:
        _join(model, rows)
    model.config = replace(config, heads=config.heads // ranks, kv_heads=config.kv_heads // ranks)
    return model.eval()


class _Rows:
    """Which slices of a parameter are a rank's."""

    def __init__(self, config: DecoderConfig, rank: int, ranks: int, whole_vocab: bool) -> None:
        self.config, self.rank, self.ranks, self.whole_vocab = config, rank, ranks, whole_vocab

    def span(self, size: int) -> slice:
        """This rank's part of a dimension."""
        each = size // self.ranks
        return slice(self.rank * each, (self.rank + 1) * each)

    def split_dim(self, row: Row) -> int | None:
        """The dimension that is split, if one is."""
        if row.style is Style.EXPERTS:
            return 0
        if row.style in (Style.VOCABULARY, Style.LOGITS) and self.whole_vocab:
            return None
        # A tied embedding stays whole: its rows are also the head's, which is a part of them.
        if row.style is Style.VOCABULARY and self.config.tied:
            return None
        return row.tensor_dim

    def slices(self, name: str, shape: tuple[int, ...]) -> Slices:
        """The slices of a parameter."""
        split = self.split_dim(row_of(name))
        return tuple(
            self.span(size) if dim == split else slice(0, size) for dim, size in enumerate(shape)
        )


def _replace(model: Decoder, name: str, value: Tensor) -> None:
    path, _, last = name.rpartition(".")
    setattr(model.get_submodule(path), last, nn.Parameter(value, requires_grad=False))


def _materialize_tables(model: Decoder) -> None:
    """Gives memory to what is no parameter; all that is left on the meta device."""
    from sextant.decoder.experts import MixtureOfExperts

    model.rope.to_empty(device="cpu")
    model.rope.reset()
    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty_like(buffer, device="cpu"))
            module.reset()


def _join(model: Decoder, rows: _Rows) -> None:
    """Hooks the collectives in, by the style of each module."""
    for name, module in model.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        row = row_of(f"{name}.weight")
        if rows.split_dim(row) is None:
            continue
        match row.style:
            case Style.INPUTS:
                module.register_forward_hook(_sum)
            case Style.LOGITS:
                module.register_forward_hook(_gather)
            case Style.VOCABULARY:
                span = rows.span(rows.config.vocab)
                module.register_forward_pre_hook(_Lookup(span).before)
                module.register_forward_hook(_sum)
            case Style.EXPERTS:
                own = _OwnExperts(rows.span(rows.config.experts))
                module.register_forward_pre_hook(own.before)
                module.register_forward_hook(own.after)


def _sum(_module: Any, _args: Any, part: Tensor) -> Tensor:
    import torch.distributed as dist

    part = part.contiguous()
    dist.all_reduce(part)
    return part


def _gather(_module: Any, _args: Any, part_BV: Tensor) -> Tensor:
    import torch.distributed as dist

    parts = [torch.empty_like(part_BV) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part_BV.contiguous())
    return torch.cat(parts, dim=-1)


class _Lookup:
    """Looks up the tokens that this rank has; the others are another's, and zero here."""

    def __init__(self, span: slice) -> None:
        self._span = span

    def before(self, module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        """Strange tokens are turned to a row past the end, which is zero."""
        (tokens,) = args
        strange = (tokens < self._span.start) | (tokens >= self._span.stop)
        num = self._span.stop - self._span.start
        if module.weight.shape[0] == num:
            zero = torch.zeros_like(module.weight[:1])
            module.weight = nn.Parameter(torch.cat((module.weight, zero)), requires_grad=False)
        return ((tokens - self._span.start).masked_fill(strange, num),)


class _OwnExperts:
    """Leaves an expert module the visits to its own; those of the others are zero here."""

    def __init__(self, span: slice) -> None:
        self._span = span
        self._own = slice(0)
        self._shape: torch.Size | None = None

    def before(self, _module: Any, args: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The rows of this rank's experts, and how many each has."""
        x_RD, count_E = args
        start = int(count_E[: self._span.start].sum())
        own_E = count_E[self._span]
        self._own, self._shape = slice(start, start + int(own_E.sum())), x_RD.shape
        return x_RD[self._own], own_E

    def after(self, module: Any, args: Any, y_RD: Tensor) -> Tensor:
        """All rows, each computed by one rank."""
        assert self._shape is not None, "before comes first"
        whole = y_RD.new_zeros(self._shape)
        whole[self._own] = y_RD
        return _sum(module, args, whole)
