"""Newsgroups of one kind to newsgroups of another: six cross-domain tasks, frozen MiniLM features.

    python benchmarks/domain_texts.py             # runs what is missing, prints the table
    python benchmarks/domain_texts.py --table     # prints what is stored
    python benchmarks/domain_texts.py --only comp # tasks whose name contains this

Two top-level groups are told apart; some of their subgroups are the source, others the target (`TASKS`, after
W. Dai et al., Co-clustering Based Classification for Out-of-domain Documents, KDD 2007). Features are MiniLM's last
layer (mean of 128 tokens, 384 wide), computed once. Every shallow method; six deep ones through a network of one hidden
layer (128) on top, 10 epochs of the source, then 10 of the method, three seeds. Accuracy on the whole target, whose
labels nothing but this number sees. Results are kept in results/domain_texts.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "domain_texts.json"
TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # two groups: subgroups of the source, subgroups of the target
    "comp, sci": (
        ("comp.graphics", "comp.os.ms-windows.misc", "sci.crypt", "sci.electronics"),
        ("comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware", "comp.windows.x", "sci.med", "sci.space"),
    ),
    "rec, talk": (
        ("rec.autos", "rec.motorcycles", "talk.politics.guns", "talk.politics.misc"),
        ("rec.sport.baseball", "rec.sport.hockey", "talk.politics.mideast", "talk.religion.misc"),
    ),
    "rec, sci": (
        ("rec.autos", "rec.sport.baseball", "sci.med", "sci.space"),
        ("rec.motorcycles", "rec.sport.hockey", "sci.crypt", "sci.electronics"),
    ),
    "sci, talk": (
        ("sci.electronics", "sci.med", "talk.politics.misc", "talk.religion.misc"),
        ("sci.crypt", "sci.space", "talk.politics.guns", "talk.politics.mideast"),
    ),
    "comp, rec": (
        ("comp.graphics", "comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware", "rec.motorcycles", "rec.sport.hockey"),
        ("comp.os.ms-windows.misc", "comp.windows.x", "rec.autos", "rec.sport.baseball"),
    ),
    "comp, talk": (
        (
            "comp.graphics", "comp.sys.mac.hardware", "comp.windows.x", "talk.politics.mideast", "talk.religion.misc",
        ),
        ("comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware", "talk.politics.guns", "talk.politics.misc"),
    ),
}  # fmt: skip
DEEP = ("dan", "dann", "cdan-e", "mcc", "shot", "dann+mcc")
SEEDS, HIDDEN, EPOCHS = 3, 128, 10
EMPTY = "source-network"


def features() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(N, 384) features of all posts, their subgroups, and the names of these."""
    import headstart as hs
    from headstart.features.engines import Engines
    from headstart.features.extract import extract
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = hs.load_data("sample:20newsgroups")
    backbone = open_model("sample:all-minilm-l6-v2", Wanted(size=128, modality="text"))
    place = (list(backbone.stages)[-1], 1)
    found = extract(backbone, Reader({"all": data}, backbone, 0, None), "all", [place], engines=Engines("auto"))[place]
    return found.numpy().astype(np.float64), data.labels(), data.schema.task().classes


def task_of(name: str, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the source, rows of the target, and (N,) which of the two groups each post is of."""
    first = name.split(", ")[0]
    group = np.array([0 if c.startswith(first) else 1 for c in classes])[labels]
    rows = [np.flatnonzero(np.isin(labels, [classes.index(c) for c in part])) for part in TASKS[name]]
    return rows[0], rows[1], group


def shallow(name: str, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> np.ndarray:
    from headstart.adapt.shallow import Domains, build

    return build(name).fit(Domains(x, y, target, 2)).probabilities.argmax(1)


def deep(x: np.ndarray, y: np.ndarray, target: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Answers of every deep method with one seed; all start from the network of the source."""
    import copy

    import torch
    from torch import nn

    from headstart.adapt.deep import Setting, build
    from headstart.data.schema import Sample, Schema, Task
    from headstart.finetune.supervised import Supervised
    from headstart.models.backbone import StagedBackbone
    from headstart.models.model import Head, Model
    from headstart.train.inference import outputs
    from headstart.train.loop import Settings, Trainer, Work
    from headstart.train.phase import Phase
    from headstart.train.reader import Reader

    task = Task("group", "single-label", ("first", "second"))
    mean, spread = x.mean(0), x.std(0) + 1e-6

    class Vectors:
        """Feature vectors as a data set."""

        schema = Schema("text", (task,))

        def __init__(self, rows: np.ndarray, labels: np.ndarray | None) -> None:
            self.rows, self._labels = ((rows - mean) / spread).astype(np.float32), labels
            self.ids = [str(i) for i in range(len(rows))]

        def __len__(self) -> int:
            return len(self.rows)

        def read(self, i: int, size_hint: int | None = None) -> Sample:
            return Sample(self.ids[i], self.rows[i])

        def labels(self, task: str | None = None) -> np.ndarray:
            assert self._labels is not None, "labels of the target are not there"
            return self._labels

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.width = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU()), HIDDEN

        def forward(self, s: Any) -> Any:
            return {**s, "x": self.layers(s["x"])}

    class Network(StagedBackbone):
        def preprocess(self, sample: Any, view: str, seed: int) -> Any:
            return {"x": torch.as_tensor(sample.inputs)}

        def pool(self, s: Any, grid: int = 1) -> Any:
            return s["x"]

    torch.manual_seed(seed)
    model = Model(Network({"hidden": Hidden()}, "transformer"), {"group": Head(HIDDEN, 2)})
    parts: Any = {"train": Vectors(x, y), "target": Vectors(target, None)}
    rates = {"hidden": 1e-3, "head": 1e-3, "*": 1e-3}

    def trained(model: Any, objectives: list[Any], update: Any = None, frozen_head: bool = False) -> Any:
        moving = {k: v for k, v in rates.items() if not (frozen_head and k == "head")}
        phase = Phase("all", moving, EPOCHS, batch_size=64, keep="last", validate_every=None)
        work = Work(phase, objectives) if update is None else Work(phase, objectives, update)
        Trainer(model, Reader(parts, model.backbone, seed), [work], Settings(seed=seed)).run()
        return model.eval()

    def said(model: Any) -> np.ndarray:
        return outputs(model, Reader(parts, model.backbone, seed), "target", 512).logits["group"].argmax(1)

    start = trained(model, [Supervised((task,), view="plain")])
    found = {EMPTY: said(start)}
    for name in DEEP:
        recipe = build(name, Setting("group", 2, "plain"))
        plain = [] if recipe.alone else [Supervised((task,), view="plain")]
        moved = trained(copy.deepcopy(start), [*plain, *recipe.objectives], recipe.update, recipe.frozen_head)
        found[name] = said(moved)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| | " + " | ".join(TASKS) + " | mean |", "|---" * (len(TASKS) + 2) + "|"]
    for method in dict.fromkeys(r["method"] for r in rows):
        means = [
            float(np.mean(own))
            if (own := [r["accuracy"] for r in rows if r["method"] == method and r["task"] == t])
            else None
            for t in TASKS
        ]
        known = [m for m in means if m is not None]
        cells = ["" if m is None else f"{m:.3f}" for m in means]
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {np.mean(known):.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", default="", help="tasks whose name contains this")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    todo = [t for t in TASKS if asked.only in t and t not in {r["task"] for r in rows}]
    if todo and not asked.table:
        from headstart.adapt.shallow import names

        z, labels, classes = features()
        for task in todo:
            source, target, group = task_of(task, labels, classes)
            x, y, new, truth = z[source], group[source], z[target], group[target]
            for name in names():
                start = time.perf_counter()
                right = float((shallow(name, x, y, new) == truth).mean())
                seconds = round(time.perf_counter() - start, 1)
                rows.append({"task": task, "method": name, "seed": 0, "accuracy": right, "seconds": seconds})
                print(f"{task}, {name}: {right:.3f} in {seconds} s", file=sys.stderr, flush=True)
            for seed in range(SEEDS):
                for name, said in deep(x, y, new, seed).items():
                    rows.append({"task": task, "method": name, "seed": seed, "accuracy": float((said == truth).mean())})
            STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
