"""The independent reference of the training benchmarks: a Hugging Face Llama and a plain loop."""

from __future__ import annotations

from typing import Any

from sextant.decoder.config import DecoderConfig
from sextant.systems.pretraining.job import Recipe


class PlainLlama:
    """A Llama of the same shape with first weights of its own, stepped as tutorials do."""

    def __init__(self, config: DecoderConfig, recipe: Recipe, *, micro_batch: int) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=config.vocab,
                hidden_size=config.hidden,
                intermediate_size=config.ffn,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.kv_heads,
                head_dim=config.head_dim,
                max_position_embeddings=config.context,
                rms_norm_eps=config.norm_eps,
                tie_word_embeddings=config.tied,
                attn_implementation="sdpa",
            )
        )
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        rest = [p for p in self.model.parameters() if p.dim() <= 1]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=recipe.betas,
            eps=recipe.eps,
            fused=True,
        )
        self._recipe, self._micro_batch = recipe, micro_batch

    def step(self, tokens: Any, targets: Any, learning_rate: float) -> float:
        """One optimizer step; gives the loss."""
        import torch

        chunks = tokens.shape[0] // self._micro_batch
        total = 0.0
        for some, wanted in zip(tokens.chunk(chunks), targets.chunk(chunks), strict=True):
            loss = self.loss(some, wanted) / chunks
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.clip)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total

    def loss(self, tokens: Any, targets: Any) -> Any:
        """Mean loss of a batch, in nats a token."""
        import torch.nn.functional as functional

        logits = self.model(input_ids=tokens, use_cache=False).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
