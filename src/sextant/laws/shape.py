"""The shape of a decoder-only transformer: its parameters and its arithmetic.

Shape suffixes and letters as in the papers: `L` layers, `h` hidden, `a` heads, `s` sequence,
`V` vocabulary, `E` routed experts.
"""

from __future__ import annotations

from dataclasses import dataclass

VOCABULARY = 128_256
"""Of a model known by its parameter count alone: Llama 3's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerShape:
    """Everything about a model that a step's time and memory depend on.

    `mlp` is `gelu` (two matrices) or `swiglu` (three). `experts` routed experts a layer, of which
    a token visits `active_experts`, beside `shared_experts`; `expert_ffn` is the width of one;
    the first `dense_layers` layers have a plain MLP of width `ffn`. `attention` is `standard` or
    `mla` (latent: `head_dim` is then the part without rotary). `sliding_window_layers` of the
    layers attend only to the last `sliding_window` tokens.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    sequence: int
    mlp: str = "swiglu"
    head_dim: int | None = None
    tied_embeddings: bool = False
    experts: int = 0
    active_experts: int = 0
    shared_experts: int = 0
    expert_ffn: int = 0
    dense_layers: int = 0
    attention: str = "standard"
    query_rank: int = 0
    kv_rank: int = 0
    rope_head_dim: int = 0
    value_head_dim: int = 0
    sliding_window: int = 0
    sliding_window_layers: int = 0
    mtp_layers: int = 0
    learned_positions: bool = False
    biases: bool = False

    @classmethod
    def from_parameters(
        cls, parameters: float, *, sequence: int, vocab: int = VOCABULARY
    ) -> TransformerShape:
        """The usual dense shape (grouped queries, SwiGLU) that has about so many parameters.

        Width over depth of published models runs from 100 (small) to 200 (a trillion); heads are
        128 wide and eight of them hold keys and values, the MLP is 3.5 times the width. Among
        widths that are multiples of 128 the one whose count and aspect fit best is taken.
        Source: Kaplan et al. 2020, section 3.2 (loss barely depends on the aspect); Llama 3,
        arXiv 2407.21783, Table 3 (32 x 4096, 80 x 8192, 126 x 16384).
        """
        best: tuple[float, TransformerShape] | None = None
        for hidden in _widths(parameters):
            shape = _of_width(hidden, parameters, sequence, vocab)
            aspect = 110.0 * max(1.0, parameters / 70e9) ** 0.15
            off = abs(shape.parameters / parameters - 1.0)
            stretch = hidden / shape.layers / aspect
            score = 10.0 * off + max(stretch, 1.0 / stretch)
            if best is None or score < best[0]:
                best = (score, shape)
        assert best is not None
        return best[1]

    @property
    def head_width(self) -> int:
        """Width of a head's keys (its part without rotary, for latent attention)."""
        return self.head_dim if self.head_dim is not None else self.hidden // self.heads

    @property
    def mlp_matrices(self) -> int:
        """Matrices of one MLP: two, or three with a gate."""
        return 3 if self.mlp == "swiglu" else 2

    @property
    def attention_parameters(self) -> int:
        """Weights of one layer's attention.

        Standard: `h (a + 2 kv) d` in and `a d h` out. Latent (DeepSeek-V2, arXiv 2405.04434,
        section 2.1): a down and an up projection each for queries and for keys with values.
        """
        h, a, d = self.hidden, self.heads, self.head_width
        if self.attention != "mla":
            return h * (a + 2 * self.kv_heads) * d + a * d * h
        qk, value = d + self.rope_head_dim, self.value_head_dim or d
        queries = h * self.query_rank + self.query_rank * a * qk if self.query_rank else h * a * qk
        latent = h * (self.kv_rank + self.rope_head_dim) + self.kv_rank * a * (d + value)
        return queries + latent + a * value * h

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert."""
        return self.mlp_matrices * self.hidden * self.expert_ffn

    @property
    def dense_mlp_parameters(self) -> int:
        """Weights of one plain MLP."""
        return self.mlp_matrices * self.hidden * self.ffn

    @property
    def moe_layers(self) -> int:
        """Layers that have experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def embedding_parameters(self) -> int:
        """Input and output embeddings, and learned positions."""
        tables = 1 if self.tied_embeddings else 2
        positions = self.sequence * self.hidden if self.learned_positions else 0
        return tables * self.vocab * self.hidden + positions

    @property
    def parameters(self) -> int:
        """All parameters, without extra prediction layers."""
        return self._count(self.experts)

    @property
    def active_parameters(self) -> int:
        """The parameters that one token passes through."""
        return self._count(self.active_experts)

    def _count(self, experts: int) -> int:
        layers = self.layers * self.attention_parameters
        layers += (self.layers - self.moe_layers) * self.dense_mlp_parameters
        visited = experts + self.shared_experts
        moe = visited * self.expert_parameters + self.hidden * self.experts
        per_layer = 2 * self.hidden * (2 if self.biases else 1)
        if self.biases:
            matrices_out = (self.heads + 2 * self.kv_heads) * self.head_width + self.hidden
            per_layer += matrices_out + self.ffn * (self.mlp_matrices - 1) + self.hidden
        total = layers + self.moe_layers * moe + self.layers * per_layer
        return total + self.embedding_parameters + self.hidden

    def flops_per_token(self) -> float:
        """Model FLOPs of one trained token: `6 N + 12 L a d s`, attention counted in full.

        Six per active weight of a matrix product (two forward, four backward); the input
        embedding is looked up, not multiplied. Source: Narayanan et al. 2021, appendix.
        """
        weights = self.active_parameters - self.embedding_parameters + self.vocab * self.hidden
        return 6.0 * weights + self.attention_flops_per_token()

    def attention_flops_per_token(self) -> float:
        """The part of `flops_per_token` that is attention's own: `6 L a (d + d_v) s`.

        Scores and their product with the values, forward and twice backward, the causal mask not
        counted. Source: Narayanan et al. 2021, appendix.
        """
        d = self.head_width + (self.rope_head_dim if self.attention == "mla" else 0)
        value = self.value_head_dim or self.head_width
        return 6.0 * self.layers * self.heads * (d + value) * self.sequence


def _widths(parameters: float) -> range:
    about = (parameters / 12.6 * 110.0) ** (1.0 / 3.0)
    step = 128 if about < 1536 else 512 if about < 4096 else 1024
    low = max(step, int(about * 0.6) // step * step)
    return range(low, int(about * 1.5) + 2 * step, step)


def _of_width(hidden: int, parameters: float, sequence: int, vocab: int) -> TransformerShape:
    heads = max(1, hidden // 128)
    kv_heads = 8 if heads % 8 == 0 else (4 if heads % 4 == 0 else heads)
    ffn = hidden * 7 // 2 // 128 * 128
    tied = parameters < 2e9
    one = hidden * (heads + 2 * kv_heads) * 128 + heads * 128 * hidden + 3 * hidden * ffn
    layers = max(2, round((parameters - (1 if tied else 2) * vocab * hidden) / one / 4) * 4)
    return TransformerShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=128,
        ffn=ffn,
        vocab=vocab,
        sequence=sequence,
        tied_embeddings=tied,
    )
