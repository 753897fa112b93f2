"""How far can transferability scores be trusted? Each score against fine-tuned accuracy, over data sets and networks.

    python benchmarks/trust.py             # runs what is missing, prints the table
    python benchmarks/trust.py --table     # prints what is stored
    python benchmarks/trust.py --ship      # writes what `headstart rank` shows beside each score

Networks count as models in several conditions: as they are, cut off (pictures in the middle, texts after a half and
after a sixth), their weights shuffled within tensors, and from random weights; for pictures three sizes as well. LEEP
and NCE need the classifier that a network was pretrained with, which only the whole networks for pictures have. Scores
are those of `headstart rank`, on the last layer's features of the training part; "best" is the probe at the best
stage, by which `rank` orders. Fine-tuned accuracy is that of lp-ft (probe first, then all layers; 8 epochs, pictures
of 64 px, texts of 64 tokens, no blending, no fall-back) on a test part; one seed. Each cell is a process of its own;
results are kept in results/trust.json. Kendall's tau-b of score and accuracy is taken within each data set, and its
mean over data sets has a 95% bootstrap interval that draws data sets, and networks within them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

STORE = Path(__file__).parent / "results" / "trust.json"
SHIPPED = Path(__file__).parent.parent / "src" / "headstart" / "verbs" / "trust.json"
LITE, MINILM = "sample:efficientnet_lite{}", "sample:all-minilm-l6-v2"
PICTURES = {
    "lite0": (LITE.format(0), "whole"),
    "lite1": (LITE.format(1), "whole"),
    "lite2": (LITE.format(2), "whole"),
    "lite0, first half": (LITE.format(0), "half"),
    "lite0, shuffled": (LITE.format(0), "shuffled"),
    "lite0, random": ("scratch:" + LITE.format(0), "whole"),
}
TEXTS = {
    "minilm": (MINILM, "whole"),
    "minilm, first half": (MINILM, "half"),
    "minilm, first sixth": (MINILM, "sixth"),
    "minilm, shuffled": (MINILM, "shuffled"),
    "minilm, random": ("scratch:" + MINILM, "whole"),
}
DATA = {
    # data: networks, labelled samples that are used
    "sample:mnist5k": (PICTURES, 300),
    "sample:optdigits": (PICTURES, 300),
    "sample:faces": (PICTURES, None),
    "sample:photo-crops": (PICTURES, 300),
    "sample:20newsgroups": (TEXTS, 400),
    "sample:reuters-r8": (TEXTS, 200),
    "sample:election-tweets": (TEXTS, 400),
    "sample:book-excerpts": (TEXTS, 200),
}
EPOCHS, SIDE, TOKENS, MOST_TESTED, RESAMPLES = 8, 64, 64, 1000, 2000


def network(reference: str, how: str, modality: str, channels: int) -> Any:
    """A backbone in one of its conditions."""
    import torch

    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted

    size = SIDE if modality == "image" else TOKENS
    backbone = open_model(reference, Wanted(size=size, channels=channels or 3, modality=modality))
    names = list(backbone.stages)
    if how in ("half", "sixth"):
        backbone.end_at(names[len(names) // {"half": 2, "sixth": 6}[how]])
    if how == "shuffled":
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in backbone.parameters():
                p.copy_(p.flatten()[torch.randperm(p.numel(), generator=random)].view_as(p))
    return backbone


def _given(name: str, model: str) -> tuple[Any, Any, dict[str, Any]]:
    """Data, network and options of a cell."""
    import headstart as hs

    models, size = DATA[name]
    data = hs.load_data(name)
    if "test" in data.given_parts and len(data.given_parts["test"]) > MOST_TESTED:
        rows = np.random.default_rng(0).permutation(data.given_parts["test"])[:MOST_TESTED]
        data = data.subset(np.sort(np.concatenate([data.given_parts["train"], rows])))
    schema = data.schema
    backbone = network(*models[model], schema.modality, schema.channels or 3)
    options: dict[str, Any] = {"train_size": size, "seed": 0, "examples": False, "stage": "last"}
    options |= {"image_size": SIDE} if schema.modality == "image" else {"max_length": TOKENS}
    return data, backbone, options


def best(name: str, model: str) -> dict[str, Any]:
    """The probe at the best stage: what orders `rank`'s leaderboard."""
    from headstart.store.runfolder import RunFolder
    from headstart.verbs.job import open_job
    from headstart.verbs.options import make_options
    from headstart.verbs.rank import measured

    data, backbone, options = _given(name, model)
    every = make_options({**options, "model": "module", "stage": "auto"})
    with tempfile.TemporaryDirectory() as folder:
        return {"best": measured(open_job(RunFolder(Path(folder)), every, data, backbone))["probe"]["value"]}


def own(name: str, model: str) -> dict[str, Any]:
    """Fine-tuned accuracy of the network as `fit` would end it, at the stage that probes best."""
    import headstart as hs

    data, backbone, options = _given(name, model)
    with tempfile.TemporaryDirectory() as folder:
        tuned = {"strategy": "lp-ft", "epochs": EPOCHS, "guard": "off", "stage": "auto"}
        d = hs.fit(data, model=backbone, **{**options, **tuned}, out=Path(folder) / "run").data
    return {"accuracy_own_stage": d["metrics"]["test"]["accuracy"]["value"], "own_stage": d["model"]["stage"]}


def one(name: str, model: str) -> dict[str, Any]:
    """The scores of a cell and the accuracy of the whole network; run in a process of its own by `run`."""
    import headstart as hs
    from headstart.store.runfolder import RunFolder
    from headstart.verbs.job import open_job
    from headstart.verbs.options import make_options
    from headstart.verbs.rank import measured

    data, backbone, options = _given(name, model)
    with tempfile.TemporaryDirectory() as folder:
        scored = make_options({**options, "model": "module"})
        row = measured(open_job(RunFolder(Path(folder)), scored, data, backbone))
        tuned = {"strategy": "lp-ft", "epochs": EPOCHS, "guard": "off"}
        d = hs.fit(data, model=backbone, **options, **tuned, out=Path(folder) / "run").data
    return {
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "tested": d["data"]["parts"]["test"],
        "scores": {**row["scores"], "probe": row["last"]["value"]},
        "seconds": round(d["cost"]["seconds"] + row["extraction_seconds"], 1),
    }


def run(name: str, model: str, what: str = "one") -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", json.dumps([what, name, model])]
    return json.loads(subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


# -- what the cells say ------------------------------------------------------------------------------------------------


WHOLE, OWN = "accuracy", "accuracy_own_stage"
"""Of the whole network, and of the network that ends at its best stage, as `fit` would end it."""


def tables(rows: list[dict[str, Any]], of: str) -> dict[str, list[tuple[list[float], list[float]]]]:
    """Score -> for each data set its values and the accuracies `of` networks, over those that have both."""
    names = list(dict.fromkeys(s for r in rows for s in r["scores"]))
    found: dict[str, list[tuple[list[float], list[float]]]] = {}
    for score in names:
        for data in DATA:
            pairs = [
                (r["scores"][score], r[of]) for r in rows if r["data"] == data and r["scores"].get(score) is not None
            ]
            if len(pairs) >= 4:
                found.setdefault(score, []).append(([p[0] for p in pairs], [p[1] for p in pairs]))
    return found


def tau(values: Any, accuracies: Any) -> float:
    from scipy.stats import kendalltau

    found = float(kendalltau(values, accuracies).statistic)
    return found if np.isfinite(found) else 0.0  # a score that is the same for all orders nothing


def summary(rows: list[dict[str, Any]], of: str) -> dict[str, dict[str, Any]]:
    """Score -> mean tau with its interval, number of data sets, and what picking by it costs in accuracy."""
    found = {}
    for score, sets in tables(rows, of).items():
        random = np.random.default_rng(0)
        draws = []
        for _ in range(RESAMPLES):
            taus = []
            for k in random.integers(len(sets), size=len(sets)):
                values, accuracies = (np.array(x) for x in sets[k])
                some = random.integers(len(values), size=len(values))
                taus.append(tau(values[some], accuracies[some]))
            draws.append(np.mean(taus))
        low, high = np.quantile(draws, [0.025, 0.975])
        lost = [max(a) - a[int(np.argmax(v))] for v, a in sets]
        found[score] = {
            "tau": float(np.mean([tau(v, a) for v, a in sets])),
            "low": float(low),
            "high": float(high),
            "data_sets": len(sets),
            "models": sum(len(v) for v, _ in sets),
            "regret": float(np.mean(lost)),
            "worst_regret": float(max(lost)),
        }
    return dict(sorted(found.items(), key=lambda item: -item[1]["tau"]))


def table(kept: dict[str, Any]) -> str:
    rows = kept["rows"]
    lines = [
        "| score | data sets | tau, ended as `fit` does (95%) | points lost by picking by it, at worst "
        "| tau, whole network (95%) | points lost, at worst |",
        "|---|---|---|---|---|---|",
    ]
    whole = summary(rows, WHOLE)
    for score, own in summary(rows, OWN).items():
        cells = [
            f"{s['tau']:+.2f} ({s['low']:+.2f} to {s['high']:+.2f}) | {100 * s['regret']:.1f}, "
            f"{100 * s['worst_regret']:.1f}"
            for s in (own, whole[score])
        ]
        lines.append(f"| {score} | {own['data_sets']} | {' | '.join(cells)} |")
    for title, of in (("networks ended at their best stage", OWN), ("whole networks", WHOLE)):
        lines += ["", f"| accuracy of {title} | " + " | ".join(d.removeprefix("sample:") for d in DATA) + " |"]
        lines.append("|---" * (len(DATA) + 1) + "|")
        for model in dict.fromkeys(r["model"] for r in rows):
            found = [next((r[of] for r in rows if r["data"] == d and r["model"] == model), None) for d in DATA]
            lines.append(f"| {model} | " + " | ".join("" if c is None else f"{c:.3f}" for c in found) + " |")
    return "\n".join(lines)


def stored() -> dict[str, Any]:
    return json.loads(STORE.read_text()) if STORE.exists() else {"rows": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--ship", action="store_true", help="write what rank shows")
    parser.add_argument("--only", default="", help="data sets whose name contains this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        what, *cell = json.loads(asked.one)
        print(json.dumps({"one": one, "best": best, "own": own}[what](*cell)))
        return
    kept = stored()
    have = {(r["data"], r["model"]) for r in kept["rows"]}
    for data, (models, _) in DATA.items():
        for model in models:
            if (data, model) not in have and asked.only in data and not asked.table:
                row = run(data, model)
                kept["rows"].append({"data": data, "model": model, **row})
                STORE.write_text(json.dumps(kept, indent=1) + "\n")
                print(f"{data}, {model}: {row['accuracy']:.3f} in {row['seconds']:.0f} s", file=sys.stderr)
    for row in kept["rows"]:
        if "best" not in row["scores"] and asked.only in row["data"] and not asked.table:
            row["scores"] |= run(row["data"], row["model"], "best")
            STORE.write_text(json.dumps(kept, indent=1) + "\n")
            print(f"{row['data']}, {row['model']}: {row['scores']['best']:.3f}", file=sys.stderr)
        if "accuracy_own_stage" not in row and asked.only in row["data"] and not asked.table:
            row |= run(row["data"], row["model"], "own")
            STORE.write_text(json.dumps(kept, indent=1) + "\n")
            print(f"{row['data']}, {row['model']}: {row['accuracy_own_stage']:.3f}", file=sys.stderr)
    print(table(kept))
    if asked.ship:
        shipped = {"scores": summary(kept["rows"], OWN), "data_sets": len({r["data"] for r in kept["rows"]})}
        SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n")


if __name__ == "__main__":
    main()
