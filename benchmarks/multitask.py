"""Several tasks, one backbone: every balancing method, equal weighting and single-task models, side by side.

    python benchmarks/multitask.py                    # runs what is missing, prints the tables, draws them
    python benchmarks/multitask.py --table            # prints what is stored
    python benchmarks/multitask.py --only newsgroups  # studies whose name contains this

Four studies, each with `headstart fit` itself, hard sharing, three seeds, validation choosing the epoch by the mean
relative change against the tasks' probes:

MultiMNIST: two digits over each other (sample:multi-mnist), left and right; a small CNN from random weights at 36 px.
two sets: mnist5k and optdigits (padded to one size by the reader), drawn equally often; the same CNN at 32 px.
newsgroups: 1,200 posts of 20newsgroups, topic (20) and top-level group (7); MiniLM at 48 tokens, its last layer
trained for three epochs.
tweets: 1,200 election tweets, author (2) and whether it is a retweet (2); the same network.

Alone: a model per task of the same network, strategy and budget (`--baselines full`). Accuracy is on the test part. The
mean change is Δm: the mean over tasks of the relative change against the model alone, in percent. The methods of a
study and seed run in one process. Results are kept in results/multitask.json, drawn in results/multitask.svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from small_network import small_cnn

STORE = Path(__file__).parent / "results" / "multitask.json"
PICTURE = STORE.with_suffix(".svg")
SEEDS = 3
MARK = "row "
TRAIN, TEST = 1200, 1000
"""Texts of each part."""
BALANCING = (
    "equal", "uncertainty", "dwa", "rlw", "gls", "famo", "imtl-l", "gradnorm", "mgda", "pcgrad", "gradvac", "cagrad",
    "imtl-g", "nash-mtl", "aligned-mtl", "upgrad",
)  # fmt: skip
SCRATCH = {
    "strategy": "full", "stage": "last", "epochs": 8, "batch_size": 64, "lr": 2e-3, "layer_decay": 1.0, "bn": "adapt",
}  # fmt: skip
MINILM = {
    "model": "sample:all-minilm-l6-v2", "max_length": 48, "strategy": "partial", "last_k": 1, "stage": "last",
    "epochs": 3,
}  # fmt: skip
STUDIES: dict[str, dict[str, Any]] = {
    "MultiMNIST": {"size": 36, **SCRATCH},
    "two sets": {"size": 32, "sampling": "equal", **SCRATCH},
    "newsgroups": MINILM,
    "tweets": MINILM,
}


def posts(folder: Path) -> dict[str, Any]:
    """Training and test posts of 20newsgroups, with topic and top-level group."""
    import pandas as pd

    import headstart as hs

    data = hs.load_data("sample:20newsgroups")
    for name, count in (("train", TRAIN), ("test", TEST)):
        part = data.part(name)
        task = part.schema.tasks[0]
        rows = np.random.default_rng(0).permutation(len(part))[:count]
        topics = [task.classes[int(label)] for label in part.labels(task.name)[rows]]
        texts = [part.read(int(i)).inputs for i in rows]
        groups = [topic.split(".")[0] for topic in topics]
        pd.DataFrame({"text": texts, "topic": topics, "group": groups}).to_csv(folder / f"{name}.csv", index=False)
    return {"labels": ("topic", "group")}


def tweets(folder: Path) -> dict[str, Any]:
    """Training and test tweets, with author and whether it is a retweet."""
    import pandas as pd

    from headstart.data.text_samples import fetch_all

    (path,) = fetch_all(("election-tweets-2016.tab",))
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8").iloc[2:]
    table = table[(table["Content"].str.strip() != "") & (table["Author"] != "")].sample(TRAIN + TEST, random_state=0)
    kept = pd.DataFrame({"text": table["Content"], "author": table["Author"]})
    kept["retweet"] = np.where(table["Is retweet"] == "True", "retweet", "own")
    kept[:TRAIN].to_csv(folder / "train.csv", index=False)
    kept[TRAIN:].to_csv(folder / "test.csv", index=False)
    return {"labels": ("author", "retweet")}


def one(study: str, balance: str, seed: int) -> dict[str, Any]:
    """One fit; with equal weights, the tasks alone as well."""
    import headstart as hs

    options = {k: v for k, v in STUDIES[study].items() if v is not None and k != "size"}
    options |= {"ema": False, "interpolate": False, "examples": False}
    options |= {"seed": seed, "balance": balance}
    options |= {"baselines": "full"} if balance == "equal" else {"guard": "off"}
    if "size" in STUDIES[study]:
        options |= {"model": small_cnn(STUDIES[study]["size"]), "augment": "none"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        data: Any = "sample:multi-mnist"
        if study == "two sets":
            data = {"digits": "sample:mnist5k", "scans": "sample:optdigits"}
        elif study != "MultiMNIST":
            options |= (posts if study == "newsgroups" else tweets)(folder)
            data = folder / "train.csv"
            options |= {"text": ("text",), "test": str(folder / "test.csv")}
        d = hs.fit(data, out=folder / "run", **options).data
    found: dict[str, Any] = {"tasks": {}, "alone": {}, "seconds": d["cost"]["parts"]["shared"]}
    for task in d["tasks"]:
        found["tasks"][task["name"]] = task["baselines"]["shared"]["test"]["accuracy"]["value"]
        if balance == "equal":
            found["alone"][task["name"]] = task["baselines"]["own_model"]["test"]["accuracy"]["value"]
    found["cosine"] = [row["matrix"][0][1] for row in d["sharing"]["cosines"]]
    return found


def run(study: str, seed: int, methods: list[str]) -> Iterator[dict[str, Any]]:
    """A row per method, as they come."""
    call = [sys.executable, __file__, "--some", json.dumps([study, seed, methods])]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                yield json.loads(line.removeprefix(MARK))
    if process.returncode:
        raise SystemExit(f"{study}, seed {seed}: exit code {process.returncode}")


def changes(rows: list[dict[str, Any]], study: str, balance: str) -> list[tuple[float, list[float]]]:
    """Per seed: Δm, and the change of every task, in percent of the task alone."""
    from headstart.measure.multitask import delta_m, relative_changes

    found = []
    for r in (r for r in rows if r["study"] == study and r["balance"] == balance):
        alone = _alone(rows, study, r["seed"])
        if alone:
            each = relative_changes(r["tasks"], alone, dict.fromkeys(alone, True))
            found.append((100 * delta_m(each), [100 * value for value in each.values()]))
    return found


def _alone(rows: list[dict[str, Any]], study: str, seed: int) -> dict[str, float]:
    """Accuracy of each task by a model of its own."""
    return next((r["alone"] for r in rows if r["study"] == study and r["seed"] == seed and r["alone"]), {})


def table(rows: list[dict[str, Any]]) -> str:
    """A table per study, means over seeds; the best Δm first."""
    lines: list[str] = []
    for study in STUDIES:
        mine = [r for r in rows if r["study"] == study]
        if not mine:
            continue
        names = list(mine[0]["tasks"])
        lines += ["", f"| {study} | " + " | ".join(names) + " | Δm % (seeds) | seconds |"]
        lines.append("|---" * (len(names) + 3) + "|")
        alone = [r["alone"] for r in mine if r["alone"]]
        if alone:
            values = " | ".join(f"{np.mean([a[n] for a in alone]):.3f}" for n in names)
            lines.append(f"| each alone | {values} | 0 | |")
        said = []
        for balance in dict.fromkeys(r["balance"] for r in mine):
            some = [r for r in mine if r["balance"] == balance]
            found = [m for m, _ in changes(rows, study, balance)]
            values = " | ".join(f"{np.mean([r['tasks'][n] for r in some]):.3f}" for n in names)
            spread = f"{np.mean(found):+.2f} ({', '.join(f'{m:+.2f}' for m in found)})" if found else ""
            seconds = np.mean([r["seconds"] for r in some])
            said.append((-np.mean(found) if found else 0.0, f"| {balance} | {values} | {spread} | {seconds:.0f} |"))
        lines += [line for _, line in sorted(said)]
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]]) -> None:
    """Change of the first task against that of the second, a point per method (mean over seeds), a panel per study."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [s for s in STUDIES if any(r["study"] == s for r in rows)]
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown), 4), squeeze=False, layout="constrained")
    for ax, study in zip(axes[0], shown, strict=True):
        names = list(next(r for r in rows if r["study"] == study)["tasks"])
        for balance in BALANCING:
            each = [e for _, e in changes(rows, study, balance)]
            if each:
                x, y = np.mean(each, axis=0)
                ax.scatter(x, y, color="tab:red" if balance == "equal" else "tab:blue", s=18)
                ax.annotate(balance, (x, y), fontsize=6, xytext=(3, 2), textcoords="offset points")
        ax.axhline(0, color="grey", linewidth=0.5)
        ax.axvline(0, color="grey", linewidth=0.5)
        ax.set(title=study, xlabel=f"{names[0]}, % of alone", ylabel=f"{names[1]}, % of alone")
    figure.savefig(PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--only", default="", help="studies whose name contains this")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--some", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.some:
        study, seed, methods = json.loads(args.some)
        for name in methods:
            print(
                MARK + json.dumps({"study": study, "balance": name, "seed": seed, **one(study, name, seed)}), flush=True
            )
        return
    rows = json.loads(STORE.read_text())["rows"] if STORE.exists() else []
    if not args.table:
        for seed in range(args.seeds):
            for study in (s for s in STUDIES if args.only in s):
                done = {r["balance"] for r in rows if (r["study"], r["seed"]) == (study, seed)}
                todo = [name for name in BALANCING if name not in done]
                for row in run(study, seed, todo) if todo else ():
                    rows.append(row)
                    print(f"{study}, {row['balance']}, seed {seed}", file=sys.stderr, flush=True)
                    STORE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
        draw(rows)
    print(table(rows))


if __name__ == "__main__":
    main()
