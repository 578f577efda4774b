"""What one training run is: everything that decides its weights, and where it is written.

OUT/job.json                       this, as plain data
OUT/record.jsonl                   what happened, one line each, append-only
OUT/checkpoints/step-00000100/     see `checkpoint.py`
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sextant.decoder.config import DecoderConfig, from_mapping
from sextant.decoder.mesh import Degrees
from sextant.errors import InputError
from sextant.systems.pretraining.islands.terms import Terms
from sextant.systems.pretraining.tokens import TokensCard, write_json

JOB_FILE = "job.json"
RECORD_FILE = "record.jsonl"
ATTEMPT_FILE = "attempt.json"
"""The job as the ranks that run now split it."""
FORMAT = "sextant-training/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How weights follow gradients. Source: Loshchilov and Hutter 2019, arXiv 1711.05101.

    Attributes:
        learning_rate: at its highest.
        warmup_steps: in which it rises to that, from nothing, in a straight line.
        last_share: of the highest, what a half cosine brings it down to by the last step.
        betas, eps: of Adam.
        weight_decay: of matrices; norms and biases have none.
        clip: the most that the gradient's norm may be; 0 clips nothing.
    """

    learning_rate: float = 3e-4
    warmup_steps: int = 100
    last_share: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.learning_rate < math.inf:
            hint = "such as 3e-4"
            raise InputError(f"{self.learning_rate}", where="--learning-rate", hint=hint)
        if self.warmup_steps < 0:
            raise InputError(f"at least 0, not {self.warmup_steps}", where="--warmup")
        if not (0.0 <= self.last_share <= 1.0 and all(0.0 <= beta < 1.0 for beta in self.betas)):
            what = f"from 0 to 1, not {self.last_share}, {self.betas}"
            raise InputError(what, where="recipe.last_share, betas")
        for name in ("weight_decay", "clip"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise InputError(f"at least 0, not {getattr(self, name)}", where=f"recipe.{name}")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step (from 0) of a run of `steps`.

        Source: Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, after a warm-up.
        """
        warmup = min(self.warmup_steps, steps // 2)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        share = self.last_share + (1.0 - self.last_share) * 0.5 * (1.0 + math.cos(math.pi * done))
        return self.learning_rate * share


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Attributes:
        model: sizes of the decoder.
        data: folder of prepared tokens.
        out: folder that the run writes.
        steps: optimizer steps in all.
        batch: sequences of one step, over all ranks.
        sequence: tokens of one.
        micro_batch: sequences that pass through the model at once, on each rank.
        seed: of first weights and of the order of the data.
        recipe: how weights follow gradients.
        layout: how the work is split; may change when a run is resumed.
        dtype: number format of products, `float32` or `bfloat16`.
        recompute: `none`, `selective` or `full`.
        compile: whether blocks are compiled.
        import_from: folder of a Hugging Face model to begin with, instead of first weights.
        checkpoint_steps: a checkpoint after so many steps, and at the end.
        keep: how many of the newest checkpoints stay.
        eval_steps: held text is evaluated after so many steps; 0 never.
        eval_windows: sequences of held text that such an evaluation takes at most.
        stall_s: the longest that ranks wait for one another.
        threads: of each rank's products; 0 shares the cores out.
        pace_s: between two looks at how fast each rank computes; 0 never looks.
        outer: how islands exchange, where there are several; `batch` is then of each island.
    """

    model: DecoderConfig
    data: Path
    out: Path
    steps: int
    batch: int
    sequence: int
    micro_batch: int = 1
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    layout: Degrees = field(default_factory=Degrees)
    dtype: str = "float32"
    recompute: str = "none"
    compile: bool = False
    import_from: Path | None = None
    checkpoint_steps: int = 100
    keep: int = 2
    eval_steps: int = 0
    eval_windows: int = 64
    stall_s: float = 60.0
    threads: int = 0
    pace_s: float = 5.0
    outer: Terms | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "sequence", "micro_batch", "checkpoint_steps", "keep"):
            if getattr(self, name) < 1:
                raise InputError(f"at least 1, not {getattr(self, name)}", where=f"job.{name}")
        if self.sequence > self.model.context:
            what = f"{self.sequence} tokens; the model's context is {self.model.context}"
            raise InputError(what, where="job.sequence")
        if self.dtype not in ("float32", "bfloat16"):
            raise InputError(f"float32 or bfloat16, not {self.dtype!r}", where="job.dtype")

    def check(self, tokens: TokensCard) -> None:
        """Whether data, model and layout go together.

        Raises:
            InputError: they do not; it says what, and what would.
        """
        if tokens.num_ids > self.model.vocab:
            what = f"the tokens are of {tokens.num_ids} ids, the model knows {self.model.vocab}"
            hint = f"vocab = {tokens.num_ids} or more in the model"
            raise InputError(what, where=str(self.data), hint=hint)
        self.layout.check(
            self.model, batch=self.batch, micro_batch=self.micro_batch, sequence=self.sequence
        )

    def identity(self, tokens: TokensCard) -> str:
        """Names what decides the weights: runs that may resume one another have the same."""
        decides: dict[str, Any] = {
            "model": asdict(self.model),
            "tokens": tokens.key,
            "sequence": self.sequence,
            "batch": self.batch,
            "seed": self.seed,
        }
        if self.outer is not None:
            decides["outer"] = {**asdict(self.outer), "harbour": "", "island": 0, "patience_s": 0}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def samples(self) -> tuple[int, int]:
        """Sequences of one step over all islands, and the first of this island's among them."""
        if self.outer is None:
            return self.batch, 0
        return self.batch * self.outer.islands, self.batch * self.outer.island

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, with whole paths."""
        plain = {**asdict(self), "format": FORMAT}
        for key in ("data", "out", "import_from"):
            plain[key] = None if plain[key] is None else str(Path(plain[key]).resolve())
        return plain

    def write(self, name: str = JOB_FILE) -> None:
        """Publishes it as `job.json`, or under another name in its folder."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / name, self.plain())

    @classmethod
    def read(cls, path: Path) -> Job:
        """The job in a file.

        Raises:
            InputError: there is none, or it is damaged.
        """
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8")), where=str(path))
        except FileNotFoundError:
            hint = "sextant pretrain train --data DIR --model 10m --out DIR"
            raise InputError("no training here", where=str(path), hint=hint) from None
        except (OSError, ValueError) as error:
            raise InputError(f"damaged: {error}", where=str(path)) from error

    @classmethod
    def of(cls, plain: Mapping[str, Any], *, where: str) -> Job:
        """The job that `plain` gave.

        Raises:
            InputError: it is damaged.
        """
        try:
            if plain["format"] != FORMAT:
                raise InputError(f"not a training of format {FORMAT}", where=where)
            return cls._of({key: value for key, value in plain.items() if key != "format"})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"damaged: {error}", where=where) from error

    @classmethod
    def _of(cls, plain: Mapping[str, Any]) -> Job:
        recipe = dict(plain["recipe"])
        values = {
            **plain,
            "model": from_mapping(plain["model"]),
            "recipe": Recipe(**{**recipe, "betas": tuple(recipe["betas"])}),
            "layout": Degrees(**plain["layout"]),
            "data": Path(plain["data"]),
            "out": Path(plain["out"]),
            "import_from": Path(plain["import_from"]) if plain["import_from"] else None,
        }
        if plain.get("outer"):
            values["outer"] = Terms(**plain["outer"])
        return cls(**values)

    def with_layout(self, layout: Degrees) -> Job:
        """The same run, split in another way."""
        return replace(self, layout=layout)
