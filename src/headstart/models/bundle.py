"""The bundle: a model as safetensors and JSON that opens anywhere, offline, without pickle.

own-0/               bundles of tasks that have a model of their own, where several were learned
beside/              a second bundle whose answers are blended in, where that paid
bundle.json          architecture, input, tasks and class names, calibration, provenance, versions
model.safetensors    the backbone under its library's own names; with the classifier, where the network has its
                     full depth and one single linear task, so that plain timm loads it strictly
head.safetensors     the heads as Headstart uses them
sharing.safetensors  what tasks have beside that, where they do not all read the same features
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.core.errors import ModelError, StoreError
from headstart.data.augment import Augmentation
from headstart.data.schema import Modality, Task
from headstart.models.backbone import Backbone, InputSpec, Provenance
from headstart.models.from_transformers import build_transformers, wrap_transformers
from headstart.models.model import Head, Model
from headstart.models.shared_parts import rebuild_sharing, shared_parts
from headstart.models.torchvision_import import import_timm, prepare_torchvision
from headstart.models.traced import TracedBackbone
from headstart.models.vision import TIMM_ARGUMENTS, check_timm_name, classifier_of, wrap_timm
from headstart.models.wanted import Wanted
from headstart.store.atomic import write_bytes, write_json
from headstart.store.tensors import write_tensors

SCHEMA = 1
SHARING = "sharing.safetensors"
_FILES = ("bundle.json", "model.safetensors", "head.safetensors")
_KEYS = {
    "library",
    "architecture",
    "arguments",
    "ended_at",
    "stages",
    "grid",
    "input",
    "tasks",
    "temperatures",
    "augmentations",
    "provenance",
    "about",
}


@dataclass
class Bundle:
    """A model with what is needed to use it.

    Attributes
    ----------
    tasks
        What it predicts.
    temperatures
        Task -> what logits are divided by, from validation.
    about
        Name of the run, metrics, versions: whatever should travel with the weights.
    columns, reading
        Where a table's inputs stood, and how they were cut out: `Schema.inputs`, `Schema.reading`.
    beside, weight
        A second model, and its share of the answers: (1 - weight) · this one's outputs + weight · its outputs.
    own
        Task -> the bundle that answers for it instead of this one's model.
    """

    model: Model
    tasks: tuple[Task, ...]
    temperatures: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    reading: Mapping[str, str] = field(default_factory=dict)
    beside: Bundle | None = None
    weight: float = 0.0
    own: Mapping[str, Bundle] = field(default_factory=dict)

    @property
    def modality(self) -> Modality:
        """What it takes."""
        return self.model.backbone.input_spec.modality


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle; each file atomically, bundle.json last, so that a half-written bundle is never taken for one.

    Raises
    ------
    StoreError
        When the disk refuses.
    """
    model, backbone = bundle.model, bundle.model.backbone
    folder.mkdir(parents=True, exist_ok=True)
    tensors = backbone.tensors()
    if (
        isinstance(backbone, TracedBackbone)
        and backbone.provenance.library == "timm"
        and backbone.ended_at is None
        and _is_plain(model)
    ):
        name = classifier_of(backbone.net)
        weight, bias = model.heads[0].folded()  # type: ignore[operator]
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    heads = {f"{i}.{k}": v for i, head in enumerate(model.heads) for k, v in head.state_dict().items()}
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write_tensors(folder / "head.safetensors", heads, {"format": "pt"})
    if model.recipe is not None:
        write_tensors(folder / SHARING, shared_parts(model), {"format": "pt"})
    if bundle.beside is not None:
        save_bundle(folder / "beside", bundle.beside)
    own = {name: f"own-{i}" for i, name in enumerate(bundle.own)}
    for name, inside in own.items():
        save_bundle(folder / inside, bundle.own[name])
    for name, content in backbone.files().items():
        write_bytes(folder / name, content)
    provenance = backbone.provenance
    write_json(
        folder / "bundle.json",
        {
            "schema": SCHEMA,
            "library": provenance.library,
            "architecture": provenance.architecture,
            "arguments": dict(provenance.arguments),
            "ended_at": backbone.ended_at,
            "stages": list(backbone.stages),
            "grid": model.grid,
            "sharing": model.recipe,
            "input": asdict(backbone.input_spec),
            "columns": list(bundle.columns),
            "reading": dict(bundle.reading),
            "tasks": [asdict(task) for task in bundle.tasks],
            "temperatures": dict(bundle.temperatures),
            "augmentations": {name: a.as_json() for name, a in backbone.augmentations.items()},
            "provenance": asdict(provenance),
            "about": dict(bundle.about),
            "beside": bundle.weight if bundle.beside is not None else None,
            "own": own,
        },
    )


def _is_plain(model: Model) -> bool:
    return len(model.heads) == 1 and model.grid == 1 and isinstance(model.heads[0], Head)


def find_bundle(path: Path) -> Path:
    """The bundle folder of a run folder, or the folder itself.

    Raises
    ------
    StoreError
        When there is none.
    """
    for folder in (path / "bundle", path):
        if (folder / "bundle.json").is_file():
            return folder
    if (path / "config.yaml").is_file():
        raise StoreError(f"The run {path} has no model yet.", f"Let it end: headstart resume {path}")
    raise StoreError(f"{path} is neither a run nor a bundle.", "Give the folder that `headstart fit` wrote.")


def load_predictor(path: Path) -> Bundle:
    """The bundle of a run folder, or the folder itself, that can predict.

    Raises
    ------
    StoreError
        When there is none, or it has learned no task: the network of a pretraining.
    """
    bundle = load_bundle(find_bundle(path))
    if not bundle.tasks:
        raise StoreError(
            f"{path} was pretrained without labels and has learned nothing to predict.",
            f"Fit it to labelled data first: headstart fit DATA --model run:{path}",
        )
    return bundle


def load_bundle(folder: Path, wanted: Wanted | None = None) -> Bundle:
    """Read a bundle; needs no network.

    Parameters
    ----------
    wanted
        Another input size than the one it was trained at (`run:` references).

    Raises
    ------
    StoreError
        Missing, damaged, or of a newer schema.
    """
    meta = _read_meta(folder)
    try:
        tensors = load_file(folder / "model.safetensors")
        heads = load_file(folder / "head.safetensors")
    except (SafetensorError, OSError) as error:
        raise _damaged(folder, error) from None
    try:
        backbone = _rebuild(folder, meta, tensors, wanted)
    except (RuntimeError, ValueError, KeyError, OSError) as error:  # tensors of other shapes, a damaged vocabulary
        raise _damaged(folder, error) from None
    # A run may ask for another pooling than the bundle's, which is a stage where it is learnt.
    if [n for n in backbone.stages if n != "pooling"] != [n for n in meta["stages"] if n != "pooling"]:
        raise ModelError(
            f"This version of {meta['library']} cuts {meta['architecture']} into other stages than the one that wrote "
            f"{folder}.",
            f"Install the versions named in {folder / 'bundle.json'}.",
        )
    backbone.augmentations = {n: Augmentation(**a) for n, a in meta["augmentations"].items()}
    tasks = tuple(Task(t["name"], t["kind"], tuple(t["classes"])) for t in meta["tasks"])
    made = {}
    for i, task in enumerate(tasks):
        state = {k.partition(".")[2]: v for k, v in heads.items() if k.startswith(f"{i}.")}
        try:
            head = Head(state["linear.weight"].shape[1], task.outputs)
            head.load_state_dict(state)
        except (KeyError, IndexError, RuntimeError) as error:
            raise _damaged(folder, error) from None
        made[task.name] = head
    sharing = meta.get("sharing") if wanted is None else None  # what a run: reference wants is the network
    try:
        parts = {} if sharing is None else load_file(folder / SHARING)
        model = rebuild_sharing(sharing, backbone, made, meta["grid"], parts).eval()
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise _damaged(folder, error) from None
    columns, reading = tuple(meta.get("columns", ())), meta.get("reading", {})
    weight = meta.get("beside")
    beside = None if weight is None else load_bundle(folder / "beside")
    own = {name: load_bundle(folder / inside) for name, inside in meta.get("own", {}).items()}
    return Bundle(model, tasks, meta["temperatures"], meta["about"], columns, reading, beside, weight or 0.0, own)


def _read_meta(folder: Path) -> dict[str, Any]:
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    if lacking:
        raise StoreError(f"The bundle {folder} lacks {', '.join(lacking)}.", "Copy the whole folder.")
    try:
        meta = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _damaged(folder, error) from None
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if not isinstance(schema, int):
        raise _damaged(folder, "bundle.json names no schema")
    if schema > SCHEMA:
        raise StoreError(
            f"The bundle {folder} was written by a newer Headstart (schema {schema}).", "Update Headstart."
        )
    unsaid = sorted(_KEYS - meta.keys())
    if unsaid:
        raise _damaged(folder, f"bundle.json does not say {', '.join(unsaid)}")
    return meta


def _damaged(folder: Path, why: object) -> StoreError:
    what = str(why).strip().replace("\n\t", " ")
    return StoreError(f"The bundle {folder} is damaged: {what}.", "Copy it again, or repeat the run.")


def _rebuild(folder: Path, meta: dict[str, Any], tensors: dict[str, Tensor], wanted: Wanted | None) -> Backbone:
    if wanted is not None and meta["architecture"].startswith("raw-"):
        raise ModelError(
            f"{folder} holds a linear model without a network: the guard handed it back.",
            "Fit it with --guard off, or name another model.",
        )
    given = meta["input"]
    spec = InputSpec(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
    if wanted is not None and wanted.size and wanted.size != spec.size:
        if spec.fixed_size:
            raise ModelError(
                f"The model of {folder} takes inputs of size {spec.size} only, not {wanted.size}.",
                f"Leave the size out, or say {spec.size}.",
            )
        if spec.modality == "text" and wanted.size > spec.native_size:
            raise ModelError(
                f"The model of {folder} has {spec.native_size} positions; {wanted.size} tokens do not fit in.",
                f"Use --max-length {spec.native_size}, or less with --long windows.",
            )
        spec = replace(spec, size=wanted.size)
    if wanted is not None:
        spec = _as_wanted(folder, spec, wanted)
    provenance = Provenance(**{**meta["provenance"], "notes": tuple(meta["provenance"]["notes"])})
    with torch.random.fork_rng(devices=[]):
        backbone = _random_network(folder, meta, spec, provenance)
    if meta["ended_at"] is not None:
        backbone.end_at(meta["ended_at"])
    missing = backbone.load_tensors(tensors)
    if wanted is not None:  # an attention that was asked for anew is learnt anew
        missing = [name for name in missing if not name.startswith(("pooling.", "headstart.pooling."))]
    if missing:
        raise StoreError(
            f"The bundle lacks tensors of {meta['architecture']}: {', '.join(missing[:4])}.", "Copy it again."
        )
    if wanted is not None and meta["library"] == "headstart" and spec.modality == "text":
        from headstart.models.own import adapt_vocabulary

        adapt_vocabulary(backbone, wanted)  # type: ignore[arg-type]
    return backbone


def _as_wanted(folder: Path, spec: InputSpec, wanted: Wanted) -> InputSpec:
    """What a run may ask of a bundle besides another size."""
    if wanted.modality != spec.modality:
        raise ModelError(
            f"The model of {folder} is for the modality {spec.modality!r}; the data are {wanted.modality!r}.",
            "Name a model that was made for such data.",
        )
    if wanted.pooling != "auto":
        spec = replace(spec, pooling=wanted.pooling)
    if spec.modality == "text":
        spec = replace(spec, long=wanted.long)
    if spec.modality == "sequence":
        if wanted.channels != spec.channels:
            raise ModelError(
                f"The model of {folder} takes series of {spec.channels} channels; these have {wanted.channels}.",
                "Use data with the same channels, or another model.",
            )
        # The network learnt from standardised channels: another domain is standardised by its own statistics.
        spec = replace(spec, mean=wanted.mean, std=wanted.std)
    return spec


def _random_network(folder: Path, meta: dict[str, Any], spec: InputSpec, provenance: Provenance) -> Backbone:
    """The bundle's network, its weights not yet loaded."""
    if meta["library"] == "timm":
        timm = import_timm()

        # A bundle is somebody else's: other arguments and names make timm read other files, or ask the hub.
        if unknown := sorted(set(meta["arguments"]) - TIMM_ARGUMENTS):
            raise _damaged(folder, f"bundle.json has arguments that Headstart does not write ({', '.join(unknown)})")
        check_timm_name(meta["architecture"])
        net = timm.create_model(meta["architecture"], pretrained=False, **meta["arguments"])
        return wrap_timm(net, spec, provenance, has_source=False)
    if meta["library"] == "transformers" and spec.modality == "text":
        from headstart.models.text_opening import rebuild_text

        return rebuild_text(meta["arguments"], spec, provenance, folder)
    if meta["library"] == "headstart":
        from headstart.models.own import rebuild_own

        return rebuild_own(meta["architecture"], meta["arguments"], spec, provenance, folder)
    if meta["library"] == "transformers":
        prepare_torchvision()
        return wrap_transformers(build_transformers(meta["arguments"]), spec, provenance)
    raise ModelError(
        f"The bundle holds the weights of {meta['architecture']}, a module given in Python.",
        "Build that module and load model.safetensors into it.",
    )
