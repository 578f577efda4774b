"""The time of one training step on one machine, by part, from unit costs measured before it.

Ranks compute side by side on the machine's cores, and exchange over its loopback. Nothing here is
hidden behind computing: on a processor an exchange takes the core that would compute.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class StepShape:
    """How a step is split.

    Attributes:
        stage_layers: layers of each stage of the pipeline; one number without a pipeline.
        tp: ranks that share every matrix.
        data: ranks that share out the batch (dp x fsdp).
        micro_batches: that pass through each pipeline in a step.
        sequences: that each rank draws in a step.
        threads: of each rank.
        cores: of the machine.
    """

    stage_layers: tuple[int, ...]
    tp: int = 1
    data: int = 1
    micro_batches: int = 1
    sequences: int = 1
    threads: int = 1
    cores: int = 1

    @property
    def ranks(self) -> int:
        """Of the layout."""
        return len(self.stage_layers) * self.tp * self.data

    def crowd(self, ranks: int) -> float:
        """Threads of so many ranks that share a core; at least one."""
        return max(1.0, ranks * self.threads / self.cores)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCosts:
    """Seconds of single pieces at the sizes that one rank has, while others do the same beside it.

    `ends` are embedding, last norm and head together; `pass` is forward and backward.

    Attributes:
        ranks: that measured side by side.
        layer_s: one layer over one micro-batch, both ways.
        embed_s, head_s: looking tokens up, and the output products with the loss, the same way.
        layer_update_s, ends_update_s: norm of the gradients and AdamW.
        layer_split_s, ends_split_s: what splitting and sharding adds to a pass, whatever the
            tokens: gathered weights, small messages, and the host's work for both.
        layer_reduce_s, ends_reduce_s: summing gradients over the ranks that share the batch.
        layer_message_s, ends_message_s: moving one micro-batch's activations in a pass.
        send_s: a stage's output to the next, and its gradient back.
        sample_s: drawing one sequence.
        meet_s: one number summed over all ranks.
    """

    ranks: int
    layer_s: float
    embed_s: float
    head_s: float
    layer_update_s: float
    ends_update_s: float
    layer_split_s: float = 0.0
    ends_split_s: float = 0.0
    layer_reduce_s: float = 0.0
    ends_reduce_s: float = 0.0
    layer_message_s: float = 0.0
    ends_message_s: float = 0.0
    send_s: float = 0.0
    sample_s: float = 0.0
    meet_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSeconds:
    """One step by part, of the stage that the others wait for.

    Attributes:
        compute: products, losses, updates.
        tensor: exchanges inside split layers.
        data_parallel: gathering weights, summing gradients, and the ranks' meetings.
        pipeline: sends between stages.
        bubble: its wait for the others.
        data: drawing sequences.
    """

    compute: float
    tensor: float
    data_parallel: float
    pipeline: float
    bubble: float
    data: float

    @property
    def total(self) -> float:
        """The step."""
        exchanged = self.tensor + self.data_parallel + self.pipeline
        return self.compute + exchanged + self.bubble + self.data


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stage:
    """One stage's seconds over one micro-batch; `update` and `reduce` are once a step."""

    compute: float
    split: float
    message: float
    send: float
    update: float
    reduce: float

    @property
    def micro_batch(self) -> float:
        return self.compute + self.split + self.message + self.send

    def step(self, passes: float) -> float:
        return passes * self.micro_batch + self.update + self.reduce


_MEETINGS = 2
"""Sums over all ranks in a step, of tokens and of the loss; that of the norm is in the update."""


def step_seconds(shape: StepShape, cost: StepCosts) -> StepSeconds:
    """The step under 1F1B: `m t_max + (sum t - t_max)`, and what is done once in it.

    Where ranks share cores the others work while one waits: the step is then no shorter than
    all their work over the cores, and what waits is hidden behind it.
    Source: Narayanan et al. 2021, arXiv 2104.04473, section 2.2; Graham 1969 (work over cores).
    """
    stages = [_stage(shape, cost, number) for number in range(len(shape.stage_layers))]
    passes = float(shape.micro_batches)
    fullest = max(stages, key=lambda stage: stage.step(passes))
    slowest = max(stage.micro_batch for stage in stages)
    wait = passes * (slowest - fullest.micro_batch)
    wait += sum(stage.micro_batch for stage in stages) - slowest
    own = fullest.step(passes)
    crowd = shape.crowd(shape.ranks) / shape.crowd(cost.ranks)
    work = crowd * sum(stage.step(passes) for stage in stages) / len(stages)
    # On a core of its own a rank waits; on a shared one another works.
    scale = 1.0 if crowd == 1.0 else work / own
    bubble = max(0.0, own + wait - scale * own)
    split = passes * fullest.split
    meet = 0.0 if shape.ranks == 1 else _MEETINGS * cost.meet_s
    tensor = shape.tp > 1 and shape.data == 1
    return StepSeconds(
        compute=scale * (passes * fullest.compute + fullest.update),
        tensor=scale * (passes * fullest.message + (split if tensor else 0.0)),
        data_parallel=scale * (fullest.reduce + (0.0 if tensor else split)) + meet,
        pipeline=scale * passes * fullest.send,
        bubble=bubble,
        data=crowd * shape.sequences * cost.sample_s,
    )


def _stage(shape: StepShape, cost: StepCosts, number: int) -> _Stage:
    layers, last = shape.stage_layers[number], len(shape.stage_layers) - 1
    # Of embedding and head a stage at one end of a pipeline has one: half of their numbers.
    ends = (number == 0) / 2 + (number == last) / 2
    beside = (number > 0) + (number < last)
    lookup = cost.embed_s if number == 0 else 0.0
    return _Stage(
        compute=layers * cost.layer_s + lookup + (cost.head_s if number == last else 0.0),
        split=layers * cost.layer_split_s + ends * cost.ends_split_s,
        message=layers * cost.layer_message_s + ends * cost.ends_message_s,
        send=beside * cost.send_s,
        update=layers * cost.layer_update_s + ends * cost.ends_update_s,
        reduce=layers * cost.layer_reduce_s + ends * cost.ends_reduce_s,
    )
