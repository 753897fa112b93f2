"""Tiny encoders of every family, saved as the hub lays them out, with a tokenizer trained on a few sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SENTENCES = (
    "the cat sat on the mat and looked at the rain",
    "a dog ran over the green field to the river",
    "prices of shares fell as interest rates rose again",
    "the bank lowered its forecast for trade and growth",
    "rain and wind reached the river bank in the night",
)

_SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": _SMALL,
    "roberta": {**_SMALL, "pad_token_id": 1},
    "xlm-roberta": {**_SMALL, "pad_token_id": 1},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
    "deberta-v2": {
        **_SMALL,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "max_relative_positions": -1,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
    "mpnet": _SMALL,
    "electra": {**_SMALL, "embedding_size": 8},
    "albert": {**_SMALL, "embedding_size": 8},
    "modernbert": {
        **_SMALL,
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
}


def tokenizer() -> Any:
    """WordPiece over `SENTENCES`, wrapped as transformers does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def save_family(family: str, folder: Path, **changes: Any) -> Path:
    """A folder as transformers writes it, weights random but the same on every call."""
    import torch
    from transformers import AutoConfig, AutoModel

    made = tokenizer()
    config = AutoConfig.for_model(family, **{"vocab_size": len(made), **FAMILIES[family], **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
