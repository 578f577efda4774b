"""How many ways a model is split, and the meshes of ranks that follow from it.

Rank = position in an array (pp, dp, fsdp, ep, tp), the last running fastest: tensor parallelism,
which talks most, stays among neighbours, and a pipeline, which talks least, reaches farthest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sextant.decoder.config import DecoderConfig
from sextant.errors import InputError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

AXES = ("pp", "dp", "fsdp", "ep", "tp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Degrees:
    """Into how many parts each mesh axis splits the work; their product is the number of ranks.

    Attributes:
        pp: pipeline stages, by layers.
        dp: replicas of the model, each with its own part of the batch.
        fsdp: ranks that share out one replica's parameters, each with its own part of the batch.
        ep: ranks that share out the experts, each with its own part of the batch.
        tp: ranks that share out every matrix (and the sequence between them), on the same batch.
        interleave: stages that one rank of the pipeline holds; 1 is plain 1F1B.
    """

    pp: int = 1
    dp: int = 1
    fsdp: int = 1
    ep: int = 1
    tp: int = 1
    interleave: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise InputError("a degree is at least 1", where=f"layout.{field.name}")

    @classmethod
    def parse(cls, text: str) -> Degrees:
        """Reads `dp=2,tp=2`; what is not named is 1, and `1` alone is one rank.

        Raises:
            InputError: a name is unknown, said twice, or no number stands behind it.
        """
        if text.strip() in ("", "1"):
            return cls()
        degrees: dict[str, int] = {}
        known = [field.name for field in fields(cls)]
        for item in text.split(","):
            name, _, number = (part.strip() for part in item.partition("="))
            if name not in known or name in degrees or not number.isdecimal():
                hint = f"such as dp=2,tp=2; the names are {', '.join(known)}"
                raise InputError(f"not a layout: {text[:80]!r}", where="--layout", hint=hint)
            degrees[name] = int(number)
        return cls(**degrees)

    @property
    def ranks(self) -> int:
        """Processes of the job."""
        return self.pp * self.data * self.tp

    @property
    def data(self) -> int:
        """Parts into which a batch is split."""
        return self.dp * self.fsdp * self.ep

    def describe(self) -> str:
        """As `parse` reads it."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return ",".join(f"{name}={n}" for name, n in said.items() if n > 1) or "1"

    def check(self, config: DecoderConfig, *, batch: int, micro_batch: int, sequence: int) -> None:
        """Whether the model and the batch divide.

        Raises:
            InputError: they do not; it names what, and the nearest that would.
        """
        stages = self.pp * self.interleave
        if stages > config.layers:
            raise _uneven("pp", self.pp, f"{config.layers} layers", config.layers)
        if self.interleave > 1 and self.pp == 1:
            raise InputError("interleaving needs pp of 2 or more", where="layout.interleave")
        for name, size in (
            ("heads", config.heads),
            ("kv_heads", config.kv_heads),
            ("ffn", config.ffn),
            ("vocab", config.vocab),
            ("tokens of a sequence", sequence),
        ):
            if size % self.tp:
                raise _uneven("tp", self.tp, f"{size} {name}", size)
        if self.ep > 1 and not config.experts:
            raise InputError("this model has no experts", where="layout.ep", hint="ep=1")
        if config.experts % (self.ep * self.tp):
            raise _uneven("ep", self.ep * self.tp, f"{config.experts} experts", config.experts)
        if batch % self.data:
            raise _uneven("dp", self.data, f"a batch of {batch} sequences", batch)
        if (batch // self.data) % micro_batch:
            what = f"micro-batches of {micro_batch} do not divide {batch // self.data} sequences"
            raise InputError(what, where="micro_batch", hint="1 always does")
        pieces = batch // self.data // micro_batch
        if self.pp > pieces:
            what = f"{pieces} micro-batches do not fill {self.pp} stages"
            hint = f"{pieces} does, or a batch of {self.pp * self.data * micro_batch}"
            raise InputError(what, where="layout.pp", hint=hint)
        if self.interleave > 1 and pieces % self.pp:
            what = f"{pieces} micro-batches do not divide by pp"
            raise InputError(what, where="layout.interleave", hint=f"a multiple of {self.pp}")


def _uneven(axis: str, degree: int, what: str, size: int) -> InputError:
    """The error for a degree that does not divide; names the nearest that does."""
    nearest = max(n for n in range(1, min(degree, size) + 1) if size % n == 0)
    hint = f"{nearest} does"
    return InputError(f"{degree} does not divide {what}", where=f"layout.{axis}", hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class Meshes:
    """One job's meshes over the same ranks.

    Attributes:
        degrees: what they were made from.
        dense: (pp, replicate, shard, tp): for all parameters but experts; experts' ranks are
            replicas to it.
        sparse: (pp, dp, fsdp, expert): for experts, split over `ep` and `tp` together.
    """

    degrees: Degrees
    dense: DeviceMesh
    sparse: DeviceMesh

    @property
    def stage(self) -> int:
        """This rank's place in its pipeline."""
        return int(self.dense.get_local_rank("pp"))

    @property
    def data_rank(self) -> int:
        """Which part of a batch is this rank's; the same on ranks that share a sequence."""
        degrees = self.degrees
        rank = int(self.dense.get_rank())
        return rank // degrees.tp % degrees.data


def make_meshes(degrees: Degrees, device: str = "cpu") -> Meshes:
    """Makes the process groups of a layout; every rank of the job must call it.

    Raises:
        InputError: the job has another number of processes.
    """
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh

    world = dist.get_world_size()
    if world != degrees.ranks:
        factors = " x ".join(str(getattr(degrees, axis)) for axis in AXES)
        what = f"{degrees.describe()} takes {degrees.ranks} processes ({factors}), not {world}"
        raise InputError(what, where="--layout")
    shape = [getattr(degrees, axis) for axis in AXES]
    ranks: Any = torch.arange(math.prod(shape)).reshape(shape)
    pp, dp, fsdp, ep, tp = shape
    dense = ranks.permute(0, 1, 3, 2, 4).reshape(pp, dp * ep, fsdp, tp)
    sparse = ranks.reshape(pp, dp, fsdp, ep * tp)
    return Meshes(
        degrees=degrees,
        dense=DeviceMesh(device, dense, mesh_dim_names=("pp", "replicate", "shard", "tp")),
        sparse=DeviceMesh(device, sparse, mesh_dim_names=("pp", "dp", "fsdp", "expert")),
    )
