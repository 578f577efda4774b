"""A small model as a folder: weights, tokenizer and chat template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TEXT = "the cat sat on the mat and the dog ran after the cat, but the cat was quick as wind. " * 20


def write_small_model(made: Path, context: int = 96) -> Path:
    """Makes the folder under `made`, without any download."""
    torch = pytest.importorskip("torch")
    tokenizers = pytest.importorskip("tokenizers")
    from sextant.decoder.config import DecoderConfig
    from sextant.decoder.hugging_face import export
    from sextant.decoder.initial import initialize
    from sextant.decoder.model import Decoder
    from sextant.decoder.shards import named_parameters

    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator([TEXT], trainer)
    engine.save(str(made / "tokenizer.json"))
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role not in ['user', 'system'] %}"
        "{{ raise_exception('only users and systems') }}{% endif %}[{{ m.role }}] {{ m.content }}\n"
        "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    (made / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": template})
    )
    config = DecoderConfig(
        vocab=320,
        hidden=32,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        ffn=64,
        context=context,
    )
    model = Decoder(config)
    initialize(model, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(12.0)  # first weights would make every next token as likely
    beside = [made / "tokenizer.json", made / "tokenizer_config.json"]
    special = {"bos_token_id": 0, "eos_token_id": 1}
    folder = made / "folder"
    export(
        config,
        dict(named_parameters(model)).__getitem__,
        folder,
        special=special,
        beside=beside,
    )
    return folder
