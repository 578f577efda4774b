"""One optimizer step under any layout: micro-batches, gradients, clipping, AdamW.

The loss of a step is the sum over the tokens of the whole batch, divided by their number before
anything is split. So gradients of micro-batches and of ranks are only ever added, and a step
computes the same however its batch is split.

Shape suffixes: B sequences of this rank, S positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sextant.decoder.config import DecoderConfig
from sextant.decoder.experts import MixtureOfExperts
from sextant.decoder.initial import initialize
from sextant.decoder.mesh import Degrees, Meshes
from sextant.decoder.model import Decoder
from sextant.decoder.parallelize import Treatment, parallelize
from sextant.decoder.pipeline import build_schedule, own_stages, stage_parts
from sextant.systems.pretraining.gradients import clip, join_tied
from sextant.systems.pretraining.held import IGNORED
from sextant.systems.pretraining.job import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a step came to: the mean loss of its tokens, and the gradient's norm before clipping.

    `applied` is whether it changed the weights: without a finite gradient it does not.
    """

    loss: float
    gradient_norm: float
    tokens: int
    applied: bool = True


def build_parts(
    config: DecoderConfig,
    meshes: Meshes | None,
    treatment: Treatment,
    *,
    seed: int,
    device: torch.device,
) -> list[Decoder]:
    """This rank's parts of a model (one, or several stages of a pipeline), with first weights."""
    whole = meshes is None or meshes.degrees.pp == 1
    chosen = [None] if whole else _chosen(config, meshes)
    parts = []
    for part in chosen:
        with torch.device("meta"):
            model = Decoder(config, part)
        parallelize(model, meshes, treatment)
        model.allocate(device)
        initialize(model, seed)
        parts.append(model.train())
    return parts


def _chosen(config: DecoderConfig, meshes: Meshes | None) -> list[Any]:
    assert meshes is not None
    parts = stage_parts(config, meshes.degrees.pp * meshes.degrees.interleave)
    return [parts[index] for index in own_stages(meshes)]


class Stepper:
    """Steps a model that may be split in any way.

    Args:
        parts: this rank's parts of the model.
        meshes: of the job; None for one process.
        recipe: how weights follow gradients.
        micro_batch: sequences that pass through the model at once.
        dtype: number format of activations, as the parts were treated.
    """

    def __init__(
        self,
        parts: Sequence[Decoder],
        meshes: Meshes | None,
        recipe: Recipe,
        *,
        micro_batch: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.parts, self.meshes = list(parts), meshes
        self._recipe, self._micro_batch, self._dtype = recipe, micro_batch, dtype
        self._degrees = meshes.degrees if meshes is not None else Degrees()
        self._device = next(parts[0].parameters()).device
        self.optimizer = torch.optim.AdamW(
            _decayed_apart(self.parts, recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.eps,
            fused=True,
        )
        self._weight = torch.zeros((), device=self._device)
        self._schedule: Any = None
        self._scheduled = 0

    def step(self, tokens_BS: Tensor, targets_BS: Tensor, *, learning_rate: float) -> Outcome:
        """Takes one step on this rank's part of a batch.

        Args:
            tokens_BS: the same on ranks that share sequences (tp, pp).
            targets_BS: the token after each; `IGNORED` where none is asked for.
            learning_rate: of this step.
        """
        counted = self._summed(float((targets_BS != IGNORED).sum()), over_tensor=False)
        self._weight.fill_(1.0 / max(1.0, counted))
        self._price_tokens()
        loss = self._pass(tokens_BS, targets_BS)
        if self.meshes is not None:
            join_tied(self.parts, self.meshes)
        norm = clip(self.parts, self.meshes, self._recipe.clip)
        # The norm is of all ranks, so all of them decide alike.
        applied = math.isfinite(norm)
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._balance(applied)
        return Outcome(
            loss=self._summed(loss, over_tensor=True),
            gradient_norm=norm,
            tokens=int(counted),
            applied=applied,
        )

    @torch.no_grad()
    def evaluate(self, tokens_BS: Tensor, targets_BS: Tensor) -> tuple[float, int]:
        """The loss of this rank's part of a batch, changing nothing.

        Returns:
            The sum of the losses of all tokens of the whole batch, and how many there are.
        """
        for part in self.parts:
            part.eval()
        self._weight.fill_(1.0)
        counted = self._summed(float((targets_BS != IGNORED).sum()), over_tensor=False)
        loss = self._pass(tokens_BS, targets_BS, backward=False)
        for part in self.parts:
            part.train()
            _let_go(part)
        return self._summed(loss, over_tensor=True), int(counted)

    def _pass(self, tokens_BS: Tensor, targets_BS: Tensor, *, backward: bool = True) -> float:
        """Gives this rank's part of the loss, and adds its gradients up."""
        num = tokens_BS.shape[0] // self._micro_batch
        if self._degrees.pp > 1:
            return self._pipelined(tokens_BS, targets_BS, num, backward)
        (model,) = self.parts
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        for at, (tokens, targets) in enumerate(
            zip(tokens_BS.chunk(num), targets_BS.chunk(num), strict=True)
        ):
            # Only the last micro-batch's gradients travel: they carry those before.
            _synchronize(model, at == num - 1)
            with self._split_loss():
                loss = self._loss(model(tokens), targets)
                if backward:
                    loss.backward()
            total += loss.detach().double()
        return float(total)

    def _pipelined(self, tokens_BS: Tensor, targets_BS: Tensor, num: int, backward: bool) -> float:
        assert self.meshes is not None
        if self._scheduled != num:
            self._schedule = build_schedule(
                self.parts,
                self.meshes,
                micro_batches=num,
                shape=(self._micro_batch, tokens_BS.shape[1]),
                dtype=self._dtype,
                loss=self._loss,
                device=self._device,
            )
            self._scheduled = num
        first, last = self.parts[0].part.first, self.parts[-1].part.last
        losses: list[Tensor] = []
        run = self._schedule.step if backward else self._schedule.eval
        with self._split_loss():
            run(
                *([tokens_BS] if first else []),
                target=targets_BS if last else None,
                losses=losses if last else None,
                return_outputs=False,
            )
        return float(sum(loss.detach().double() for loss in losses))

    def _loss(self, logits_BSV: Tensor, targets_BS: Tensor) -> Tensor:
        """Sum of the tokens' losses, over the tokens of the whole batch."""
        logits_TV, targets_T = logits_BSV.flatten(0, 1).float(), targets_BS.flatten()
        if self.meshes is not None and self._degrees.tp > 1:
            # Each rank has the logits of a part of the vocabulary.
            from torch.distributed.tensor import DTensor, Shard

            logits_TV = DTensor.from_local(logits_TV, self.meshes.dense["tp"], [Shard(1)])
        loss = F.cross_entropy(logits_TV, targets_T, ignore_index=IGNORED, reduction="sum")
        return (loss.full_tensor() if hasattr(loss, "full_tensor") else loss) * self._weight

    def _split_loss(self) -> AbstractContextManager[None]:
        """What makes the loss of split logits, and its gradient, one of parts."""
        if self._degrees.tp == 1:
            return nullcontext()
        from torch.distributed.tensor.parallel import loss_parallel

        return loss_parallel()

    def _price_tokens(self) -> None:
        for layer in _expert_layers(self.parts):
            layer.token_weight.copy_(self._weight)

    def _balance(self, applied: bool) -> None:
        """Sets every layer's prices by what the whole batch did, if the step counts."""
        for layer in _expert_layers(self.parts):
            count_E = layer.take_counts()
            if not applied:
                continue
            if self.meshes is not None:
                import torch.distributed as dist

                for name in ("replicate", "shard", "tp"):
                    dist.all_reduce(count_E, group=self.meshes.dense.get_group(name))
            with torch.no_grad():
                layer.adjust(count_E)

    def _summed(self, value: float, *, over_tensor: bool) -> float:
        """A number added up over the parts of the batch.

        Args:
            value: this rank's.
            over_tensor: whether only the last stage has it, once on each of its tp ranks.
        """
        if self.meshes is None:
            return value
        import torch.distributed as dist

        # Every stage and tp rank counts the same tokens; only the last stage has a loss.
        copies = self._degrees.tp * (1 if over_tensor else self._degrees.pp)
        total = torch.tensor(value / copies, dtype=torch.float64, device=self._device)
        dist.all_reduce(total)
        return float(total)


def _synchronize(model: Decoder, now: bool) -> None:
    from torch.distributed.fsdp import FSDPModule

    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)
        model.set_is_last_backward(now)


def _let_go(model: Decoder) -> None:
    """Leaves each rank its own part of the weights again, which a backward pass would have done.

    While they are gathered, the module's parameters are the gathered copies.
    """
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _expert_layers(parts: Iterable[Decoder]) -> Iterator[MixtureOfExperts]:
    for part in parts:
        for block in part.layers.values():
            if isinstance(block.mlp, MixtureOfExperts):
                yield block.mlp


def _decayed_apart(parts: Iterable[Decoder], weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: what decays, and what does not."""
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
