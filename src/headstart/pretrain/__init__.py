"""Learning from data without labels. Importing this registers the objectives."""

from headstart.pretrain import language_model, masked_series, masked_words
from headstart.pretrain.choice import pretraining_objective, unlabelled

__all__ = ["language_model", "masked_series", "masked_words", "pretraining_objective", "unlabelled"]
