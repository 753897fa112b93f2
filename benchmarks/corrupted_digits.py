"""A network of clean digits on corrupted ones: unadapted, AdaBN, TENT, SHOT; and class shares that were planted.

    python benchmarks/corrupted_digits.py             # runs what is missing, prints the tables
    python benchmarks/corrupted_digits.py --table     # prints what is stored

The network is the small CNN of domain_digits.py, trained for 12 epochs on the 4,000 clean digits of mnist5k; the 1,000
test digits are corrupted in five ways at two strengths. AdaBN takes its statistics from them, TENT adapts while it
predicts them once (batches of 64, Adam at 1e-3), SHOT trains on them for 8 epochs without labels. TENT's and SHOT's
losses are kept as they were: entropy falls also where accuracy does. Three seeds. Shares: target samples drawn with
planted shares of the classes, estimated from the answers of the unadapted network on clean digits.
Results are kept in results/corrupted_digits.json.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domain_digits import SIZE, TRAINING
from small_network import small_cnn

STORE = Path(__file__).parent / "results" / "corrupted_digits.json"
SEEDS = 3
WAYS = ("unadapted", "adabn", "tent", "tent, episodic", "shot")
SHARES = {"even": [1.0] * 10, "linear": list(range(1, 11)), "one class": [11.0] + [1.0] * 9}


def corruptions() -> dict[str, Any]:
    """Name -> function of (N, H, W) pictures in [0, 1]."""
    from scipy.ndimage import gaussian_filter, rotate

    random = np.random.default_rng(0)
    return {
        "noise .3": lambda x: x + random.normal(0, 0.3, x.shape),
        "noise .6": lambda x: x + random.normal(0, 0.6, x.shape),
        "blur 1.5": lambda x: gaussian_filter(x, (0, 1.5, 1.5)),
        "blur 2.5": lambda x: gaussian_filter(x, (0, 2.5, 2.5)),
        "contrast .3": lambda x: 0.35 + 0.3 * x,
        "contrast .1": lambda x: 0.45 + 0.1 * x,
        "turned 30°": lambda x: rotate(x, 30, (2, 1), reshape=False, order=1),
        "turned 50°": lambda x: rotate(x, 50, (2, 1), reshape=False, order=1),
        "inverted, pale": lambda x: 1 - 0.5 * x,
        "inverted": lambda x: 1 - x,
    }


def one(seed: int) -> list[dict[str, Any]]:
    """Every corruption and way with the network of one seed."""
    import headstart as hs

    loaded = hs.load_data("sample:mnist5k")
    test = loaded.part("test")
    x = np.stack([test.read(i).inputs[:, :, 0] for i in range(len(test))]) / 255.0
    # The samples are sorted by class: batches of one class have no statistics that an adaptation could use.
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], test.labels()[order]
    model, rows = network_of(loaded.part("train"), seed), []
    clean = _answers(model, _data(x))
    rows.append({"corruption": "none", "way": "unadapted", "accuracy": float((clean.argmax(1) == y).mean())})
    rows += _shares(clean, y, seed)
    for name, corrupt in corruptions().items():
        data = _data(np.clip(corrupt(x), 0, 1))
        for way in WAYS:
            p, facts = adapted(copy.deepcopy(model), data, way, seed)
            rows.append({"corruption": name, "way": way, "accuracy": float((p.argmax(1) == y).mean()), **facts})
    return [{"seed": seed, **r} for r in rows]


def network_of(train: Any, seed: int) -> Any:
    """The small CNN, trained on clean digits."""
    from headstart.data.augment import POLICIES
    from headstart.finetune.supervised import Supervised
    from headstart.models.model import Head, Model
    from headstart.train.loop import Settings, Trainer, Work
    from headstart.train.phase import Phase
    from headstart.train.reader import Reader

    backbone = small_cnn(SIZE)
    backbone.augmentations = {"train": POLICIES["light"]}
    torch.manual_seed(seed)
    model = Model(backbone, {"label": Head(288, 10)})
    rates = dict.fromkeys([*backbone.stages, "head"], TRAINING["lr"])
    phase = Phase("clean", rates, 12, batch_size=64, bn="adapt", keep="last", validate_every=None)
    work = Work(phase, [Supervised(train.schema.tasks)])
    Trainer(model, Reader({"train": train}, backbone, seed), [work], Settings(seed=seed)).run()
    return model.eval()


def _data(x: np.ndarray) -> Any:
    from headstart.data import load_inputs

    return load_inputs([(255 * picture).astype(np.uint8) for picture in x])


def _answers(model: Any, data: Any) -> np.ndarray:
    from headstart.train.inference import outputs
    from headstart.train.reader import Reader

    logits = outputs(model, Reader({"target": data}, model.backbone, 0), "target").logits["label"]
    return torch.from_numpy(logits).softmax(1).numpy()


def adapted(model: Any, data: Any, way: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities on the data after adapting to them, and the losses on the way."""
    from headstart.adapt.deep import Setting, build
    from headstart.adapt.deep.statistics import Tent, adapt_statistics
    from headstart.train.loop import MemoryLog, Settings, Trainer, Work
    from headstart.train.phase import Phase
    from headstart.train.reader import Reader, put_in_place

    reader = Reader({"target": data}, model.backbone, seed)
    if way == "adabn":
        adapt_statistics(model, reader.sweep("target", 128, labels=False))
    if way.startswith("tent"):
        tent = Tent(model, "label", episodic=way.endswith("episodic"))
        batches = list(reader.sweep("target", 64, labels=False))
        found: dict[str, Any] = {}
        for b in batches:
            put_in_place(found, "p", tent.predict(b), b.index, len(data))
        p = found["p"]
        return p.numpy(), {"losses": [round(v, 4) for v in tent.losses], "collapses": tent.collapses}
    facts: dict[str, Any] = {}
    if way == "shot":
        recipe, log = build("shot", Setting("label", 10, "plain")), MemoryLog()
        rates = dict.fromkeys(model.backbone.stages, 5e-4)
        phase = Phase("shot", rates, 8, batch_size=64, bn="adapt", keep="last", validate_every=None)
        Trainer(model, reader, [Work(phase, recipe.objectives, recipe.update)], Settings(seed=seed), log=log).run()
        facts["losses"] = [round(r["train_loss"], 4) for r in log.records if r["kind"] == "epoch"]
    return _answers(model.eval(), data), facts


def _shares(p: np.ndarray, y: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Planted shares of the classes among half of the test digits, estimated with the other half as the source."""
    from headstart.measure.label_shift import black_box_shares, expected_shares

    random, rows = np.random.default_rng(seed), []
    half = random.permutation(len(y)) % 2 == 0
    for name, wanted in SHARES.items():
        weights = np.array(wanted)[y[~half]]
        drawn = np.flatnonzero(~half)[random.choice((~half).sum(), 1000, p=weights / weights.sum())]
        truth = np.bincount(y[drawn], minlength=10) / len(drawn)
        source = np.bincount(y[half], minlength=10) / half.sum()
        found = {"bbse": black_box_shares(p[half], y[half], p[drawn]), "em": expected_shares(p[drawn], source)}
        rows += [{"shares": name, "by": by, "error": float(np.abs(f - truth).max())} for by, f in found.items()]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    def mean(values: list[float]) -> str:
        return f"{np.mean(values):.3f}" if values else ""

    lines = ["| accuracy | " + " | ".join(WAYS) + " |", "|---" * (len(WAYS) + 1) + "|"]
    for name in dict.fromkeys(r["corruption"] for r in rows if "corruption" in r):
        own = [r for r in rows if r.get("corruption") == name]
        lines.append(
            f"| {name} | " + " | ".join(mean([r["accuracy"] for r in own if r["way"] == w]) for w in WAYS) + " |"
        )
    hard = [r for r in rows if r.get("corruption") not in (None, "none")]
    lines.append("| mean | " + " | ".join(mean([r["accuracy"] for r in hard if r["way"] == w]) for w in WAYS) + " |")
    resets = sum(r.get("collapses", 0) for r in hard)
    lines += ["", f"Collapses of TENT that were noticed and undone: {resets}.", ""]
    lines += ["| loss, first → last | tent | shot |", "|---|---|---|"]
    for name in dict.fromkeys(r["corruption"] for r in hard):
        cells = []
        for way in ("tent", "shot"):
            losses = [r["losses"] for r in hard if r["corruption"] == name and r["way"] == way]
            cells.append(f"{np.mean([v[0] for v in losses]):.3f} → {np.mean([v[-1] for v in losses]):.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| planted shares | largest error, BBSE | largest error, EM |", "|---|---|---|"]
    for name in SHARES:
        cells = [mean([r["error"] for r in rows if r.get("shares") == name and r["by"] == by]) for by in ("bbse", "em")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    for seed in range(SEEDS):
        if not asked.table and seed not in {r["seed"] for r in rows}:
            rows += one(seed)
            STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
