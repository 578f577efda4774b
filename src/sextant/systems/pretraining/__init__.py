"""Pretraining: text to tokens, tokens to a language model, whatever the layout and the failures."""
