"""`export`: a bundle as one ONNX or OpenVINO graph, from raw inputs to calibrated probabilities."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ConfigError, ModelError, StoreError, did_you_mean
from headstart.data.schema import Sample, Task
from headstart.features.engines.choose import is_installed
from headstart.features.engines.engine import EngineError
from headstart.features.engines.graph import to_onnx, to_openvino
from headstart.models.backbone import Backbone, State
from headstart.models.bundle import Bundle, load_predictor
from headstart.store.atomic import store_error, write_bytes, write_json
from headstart.verbs.whole import Whole

FORMATS = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Format -> the engine that checks it."""

TOLERANCE = 1e-3
"""How far probabilities (relative to their range, a regression's values) may lie from PyTorch's in float32."""

BATCHES = (1, 5)
_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "sleep")

Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def export(
    run_or_bundle: str | Path, format: str = "onnx", out: str | Path | None = None, force: bool = False
) -> dict[str, Any]:
    """Write a model as one graph that other programs run without PyTorch.

    Parameters
    ----------
    run_or_bundle
        A run folder or a bundle.
    format
        "onnx" or "openvino".
    out
        Folder to write into; by default `export-FORMAT` beside the bundle.
    force
        Write over what is there.

    Returns
    -------
    dict
        What `model.json` holds: inputs, preprocessing, `outputs` with the classes of each task, and how far the graph
        is from PyTorch on made-up batches of two sizes.

    Raises
    ------
    ConfigError
        Unknown format, or its library is not installed.
    ModelError
        The network cannot be exported, or what was exported computes something else; nothing is written.
    StoreError
        The folder is in use, or cannot be made.
    """
    if format not in FORMATS:
        raise ConfigError(f"There is no format {format!r}.", did_you_mean(format, FORMATS))
    if not is_installed(FORMATS[format]):
        raise ConfigError(f"Exporting to {format} needs further libraries.", "pip install 'headstart[fast]'")
    bundle = load_predictor(Path(run_or_bundle))
    folder = Path(out) if out is not None else Path(run_or_bundle) / f"export-{format}"
    with _made(folder, force):
        about, files = _exported(bundle, format)
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / "model.json", about)
    return {**about, "folder": str(folder)}


@contextmanager
def _made(folder: Path, force: bool) -> Iterator[None]:
    """Make the folder before the work, so that a disk that refuses is heard of first; a failure leaves none behind."""
    try:
        new = [path for path in (folder, *folder.parents) if not path.exists()]
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder} is a file.", "Give --out a folder.")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise StoreError(f"{folder} is there already.", "Name another with --out, or write over it with --force.")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(error, folder) from error
    try:
        yield
    except BaseException:
        for path in new:
            path.rmdir()
        raise


def _exported(bundle: Bundle, format: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The description, and the files by name."""
    model, tasks = bundle.model.eval(), bundle.tasks
    backbone = model.backbone
    models = {task.name: bundle.own[task.name].model.eval() if task.name in bundle.own else model for task in tasks}
    _check_own(bundle)
    if backbone.family == "linear":
        raise ModelError(
            "The run handed back a linear model without a network, which is not exported.",
            "`headstart predict` runs the bundle; --guard off keeps the network.",
        )
    if bundle.beside is not None:
        raise ModelError(
            "The model blends a network with a linear model without one; a graph would hold half of it.",
            "`headstart predict` runs the bundle; fit with --no-blend to export.",
        )
    if backbone.family == "rnn":
        raise ModelError(
            "Recurrent networks cannot be exported yet: their packed sequences are no part of a graph.",
            "`headstart predict` runs the bundle; InceptionTime (scratch:inception-time) can be exported.",
        )
    if backbone.input_spec.long == "windows":
        raise ModelError(
            "A network that reads long texts in windows cannot be exported: the windows are cut outside of it.",
            "Train with --long truncate.",
        )
    pairs = bundle.modality == "text" and len(bundle.columns) == 2
    examples = [made_up(backbone, count, seed, pairs) for seed, count in enumerate(BATCHES)]
    whole = Whole(models, tasks, bundle.temperatures, tuple(examples[-1])).eval()
    outputs = [_output(bundle, task) for task in tasks]
    write = _to_onnx if format == "onnx" else _to_openvino
    try:
        with torch.no_grad():
            truth = [[x.numpy() for x in whole(*inputs.values())] for inputs in examples]
            files, run = write(whole, examples[-1], [output["name"] for output in outputs])
        made = [run({name: x.numpy() for name, x in inputs.items()}) for inputs in examples]
    except EngineError as error:
        raise ModelError(f"This network cannot be exported to {format}: {error}", _try_other(format)) from error
    gap = max(_gap(t, [row[i] for row in truth], [row[i] for row in made]) for i, t in enumerate(tasks))
    if not gap <= TOLERANCE:
        raise ModelError(
            f"The exported graph differs from PyTorch by {gap:.2g} (at most {TOLERANCE} is allowed).",
            f"Nothing was written. {_try_other(format)}",
        )
    one = {} if len(tasks) > 1 else _of_one(outputs[0])
    about = {
        "schema": 1,
        "format": format,
        "files": list(files),
        "inputs": [_described(name, x, backbone) for name, x in examples[-1].items()],
        "outputs": outputs,
        **one,
        "preprocessing": _preprocessing(backbone),
        "agreement": {"largest_difference": gap, "with": f"PyTorch {torch.__version__}, float32", "batches": BATCHES},
        "model": {"reference": backbone.provenance.reference, "licence": backbone.provenance.licence},
        "versions": {n: version(n) for n in ("headstart", "torch", FORMATS[format])} | {
            "python": platform.python_version()
        },
    }  # fmt: skip
    return about, {**files, **backbone.files()}


def _check_own(bundle: Bundle) -> None:
    """Models that tasks have of their own must take what the shared one takes."""
    spec = bundle.model.backbone.input_spec
    for task, other in bundle.own.items():
        own = other.model.backbone.input_spec
        if own != spec:
            raise ModelError(
                f"The model that {task!r} has of its own takes inputs of size {own.size}, the others take {spec.size}: "
                "one graph has one kind of input.",
                "Fit with --image-size or --max-length, or --guard off.",
            )


def _output(bundle: Bundle, task: Task) -> dict[str, Any]:
    """What a graph says of a task."""
    name = "value" if task.kind == "regression" else "probabilities"
    return {
        "name": name if len(bundle.tasks) == 1 else f"{task.name}.{name}",
        "shape": ["batch", task.outputs],
        "calibrated": task.kind != "regression",
        "task": task.name,
        "kind": task.kind,
        "classes": list(task.classes),
        "temperature": bundle.temperatures.get(task.name, 1.0),
    }


def _of_one(output: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a model of one task, as model.json has always had it."""
    return {
        "output": {key: output[key] for key in ("name", "shape", "calibrated")},
        "task": {"name": output["task"], "kind": output["kind"], "classes": output["classes"]},
        "temperature": output["temperature"],
    }


def _gap(task: Task, truth: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> float:
    """Largest difference; of a regression relative to the range of its values."""
    gap = max(float(np.abs(a - b).max()) for a, b in zip(made, truth, strict=True))
    reach = max(float(np.ptp(t)) for t in truth) or 1.0
    return gap / reach if task.kind == "regression" else gap


def _try_other(format: str) -> str:
    return "Try " + " or ".join(f"--format {name}" for name in FORMATS if name != format) + "."


def _to_onnx(whole: Whole, example: State, outputs: Sequence[str]) -> tuple[dict[str, bytes], Run]:
    import onnxruntime as ort

    content = to_onnx(whole, example, outputs).SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    used = {i.name for i in session.get_inputs()}
    return {"model.onnx": content}, lambda inputs: session.run(
        list(outputs), {k: v for k, v in inputs.items() if k in used}
    )


def _to_openvino(whole: Whole, example: State, outputs: Sequence[str]) -> tuple[dict[str, bytes], Run]:
    import tempfile

    import openvino as ov

    model = to_openvino(whole, example, outputs)
    with tempfile.TemporaryDirectory() as scratch:
        ov.save_model(model, f"{scratch}/model.xml", compress_to_fp16=False)
        files = {name: (Path(scratch) / name).read_bytes() for name in ("model.xml", "model.bin")}
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return files, lambda inputs: [compiled(dict(inputs))[i] for i in range(len(outputs))]


def made_up(backbone: Backbone, count: int, seed: int, pairs: bool = False) -> State:
    """A collated batch of made-up samples, as new inputs will look."""
    r = np.random.default_rng(seed)
    spec = backbone.input_spec

    def one(i: int) -> Any:
        if spec.modality == "image":
            return r.integers(0, 256, (spec.size, spec.size, spec.channels), dtype=np.uint8)
        if spec.modality == "sequence":
            return r.normal(size=(24 + 3 * i, spec.channels)).astype(np.float32)
        text = " ".join(r.choice(_WORDS, 6 + 3 * i))
        return (text, " ".join(r.choice(_WORDS, 5))) if pairs else text

    samples = [backbone.settle(Sample(str(i), one(i))) for i in range(count)]
    return backbone.collate([backbone.preprocess(sample, "plain", 0) for sample in samples])


def _described(name: str, x: Tensor, backbone: Backbone) -> dict[str, Any]:
    spec = backbone.input_spec
    axes: dict[tuple[str, str], tuple[list[str | int], str]] = {
        ("image", "x"): (
            ["batch", spec.channels, spec.size, spec.size],
            "RGB values from 0 to 255; scaling and normalisation are in the graph",
        ),
        ("text", "ids"): (["batch", "length"], "token numbers by tokenizer.json, special tokens included"),
        ("text", "mask"): (["batch", "length"], "true where there is a token, false where a shorter text is filled up"),
        ("text", "types"): (["batch", "length"], "0 for the tokens of the first text of a pair, 1 for the second's"),
        ("sequence", "x"): (
            ["batch", "steps", spec.channels],
            "values as measured, NaN where missing; standardisation is in the graph",
        ),
        ("sequence", "mask"): (["batch", "steps"], "false behind the end of a shorter series"),
    }
    shape, meaning = axes.get((spec.modality, name), (["batch", *x.shape[1:]], ""))
    return {"name": name, "dtype": str(x.dtype).removeprefix("torch."), "shape": shape, "meaning": meaning}


def _preprocessing(backbone: Backbone) -> dict[str, Any]:
    spec = backbone.input_spec
    if spec.modality == "image":
        return {
            "crop": "the centre square, as large as it can be",
            "resize": [spec.size, spec.size],
            "interpolation": spec.interpolation,
            "library": "Pillow, reducing_gap=3.0",
            "grey": "repeated to all channels",
            "layout": "batch, channel, row, column",
            "in_graph": {"scale": 1 / 255, "mean": list(spec.mean), "std": list(spec.std)},
        }
    if spec.modality == "text":
        return {"tokenizer": "tokenizer.json", "longer_texts": f"cut off after {spec.size} tokens"}
    return {"in_graph": {"mean": list(spec.mean), "std": list(spec.std)}}
