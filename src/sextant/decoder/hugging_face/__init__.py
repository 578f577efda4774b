"""Hugging Face folders (`config.json`, safetensors): read into a model, and written from one.

Llama's layout, and what has the same arithmetic (Mistral, Qwen 2); Mixtral's with experts. Weights
are read from safetensors only: other files are pickles, which can run code.
"""

from sextant.decoder.hugging_face.config import config_json, ending_tokens, read_config
from sextant.decoder.hugging_face.read import Weights, load_weights
from sextant.decoder.hugging_face.write import export

__all__ = ["Weights", "config_json", "ending_tokens", "export", "load_weights", "read_config"]
