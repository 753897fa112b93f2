"""How fast: frozen work, the last stages, everything; beside fastai and Keras, side by side in one run.

    python benchmarks/speed.py --peer PEERS/bin/python     # runs all, prints the table, stores results/speed.json
    python benchmarks/speed.py --table                     # prints what is stored

EfficientNet-Lite0 at 96 px on mnist5k, 4,000 training and 1,000 test digits, the same weights, batches of 64, no
augmentation. fastai runs as it comes and with its documented `to_channelslast()`; the faster of the two counts. PEERS
is an environment with benchmarks/peers/requirements.txt and this package. Every row is a process of its own and its
clock is inside it, except "whole command", which counts from start to end of the process (the middle one of three).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
STORE = HERE / "results" / "speed.json"
LITE, DATA = "sample:efficientnet_lite0", "sample:mnist5k"
SIZE = 96


# -- Headstart, each in a process of its own ---------------------------------------------------------------------------


def frozen() -> dict[str, Any]:
    """Extraction, with the choice of the engine, and the probe on the last layer."""
    import torch

    import headstart as hs
    from headstart.core.memory import peak_memory_mb
    from headstart.features.engines import Engines
    from headstart.features.extract import extract
    from headstart.features.probe import fit_probe
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.reader import Reader

    data = hs.load_data(DATA)
    backbone = open_model(LITE, Wanted(SIZE, 1)).to(memory_format=torch.channels_last).eval()
    last = (list(backbone.stages)[-1], 1)
    task = data.schema.tasks[0]
    engines = Engines("auto")
    start = time.perf_counter()
    reader = Reader({"train": data.part("train"), "test": data.part("test")}, backbone, 0)
    x = {part: extract(backbone, reader, part, [last], engines=engines, count=len(data))[last] for part in reader.parts}
    extracted = time.perf_counter() - start
    y = data.part("train").labels(task.name)
    folds = torch.arange(len(y)) % 5
    probe = fit_probe(x["train"], y, task, "accuracy", folds, None)
    seconds = time.perf_counter() - start
    peak = round(peak_memory_mb())
    # The same engine's bare loop on ready-made tensors, and extraction with nothing read from disk.
    os.environ["HEADSTART_CACHE_LIMIT"] = "0"

    batches = [b.views["plain"] for b in reader.sweep("train", backbone.batch_size(), labels=False)]
    candidate = next(iter(engines._chosen.values()))[0]
    engine = candidate.kind(backbone, [last], batches[0], candidate.dtype)
    ready = [engine.begin(b)[0] for b in batches]
    bare, whole = [], []
    for _ in range(3):
        again = time.perf_counter()
        for state in ready:
            engine.compute(state)
        bare.append(time.perf_counter() - again)
        again = time.perf_counter()
        fresh = Reader({"train": data.part("train")}, backbone, 0, room=0)
        extract(backbone, fresh, "train", [last], engines=engines)
        whole.append(time.perf_counter() - again)
    right = probe.logits(x["test"]).argmax(1).numpy() == data.part("test").labels(task.name)
    return {
        "accuracy": float(right.mean()),
        "seconds": seconds,
        "peak_memory_mb": peak,
        "extraction": extracted,
        "engine": engines.notes,
        "throughput": min(bare) / min(whole),
        "bare": 4000 / min(bare),
    }


def epochs(what: str) -> dict[str, Any]:
    """Epochs of training the last blocks (on kept activations) or everything; seconds from the log of the run."""
    import headstart as hs

    some = {"strategy": "partial", "last_k": 2, "epochs": 5} if what == "last" else {"strategy": "full", "epochs": 2}
    with tempfile.TemporaryDirectory() as folder:
        run = hs.fit(
            DATA, model=LITE, image_size=SIZE, stage="last", augment="none", batch_size=64, seed=0, ema=False,
            examples=False, guard="off", out=Path(folder) / "run", **some,
        )  # fmt: skip
        log = [json.loads(line) for line in (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()]
        steps = [r for r in log if r["kind"] == "step"]
        per_epoch = {}
        for r in steps:
            per_epoch.setdefault(r["epoch"], []).append(r["seconds"])
        # From the first step's end to the last one's, scaled to all steps: without validation and without keeping.
        times = [(s[-1] - s[0]) * len(s) / (len(s) - 1) for s in per_epoch.values()]
        whole = next(r for r in log if r["kind"] == "epoch" and r["epoch"] == max(per_epoch))["seconds"]
        d = run.data
    samples = d["data"]["parts"]["train"]
    return {
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "epoch": min(times) * 4000 / samples,
        "whole": whole,
        "epochs": len(times),
        "samples": samples,
        "reasons": d["strategy"]["reasons"],
        "phase": d["strategy"]["phases"][0],
        "precision": d["cost"]["precision"],
        "peak_memory_mb": d["cost"]["peak_memory_mb"],
    }


def command(cache: Path, *options: str) -> dict[str, Any]:
    """The whole command, from start to end of the process."""
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "headstart.cli", "fit", DATA, "--model", LITE, "--seed", "0", *options]
        start = time.perf_counter()
        done = subprocess.run(
            [*call, "--out", f"{folder}/run", "--json"], stdout=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "HEADSTART_CACHE": str(cache)},
        )  # fmt: skip
        seconds = time.perf_counter() - start
    d = json.loads(done.stdout)
    return {
        "accuracy": d["metrics"]["test"]["accuracy"]["value"],
        "seconds": seconds,
        "peak_memory_mb": d["cost"]["peak_memory_mb"],
        "stage": d["model"]["stage"],
        "parts": d["cost"]["parts"],
    }


def here(what: str) -> dict[str, Any]:
    call = [sys.executable, __file__, "--one", what]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            call, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "HEADSTART_CACHE": cache}
        )
    return json.loads(done.stdout.splitlines()[-1])


# -- the peer ----------------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> Path:
    """The digits as PNG files by part and class, and the weights; what fastai reads."""
    from PIL import Image
    from safetensors.torch import save_file

    import headstart as hs
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted

    data = hs.load_data(DATA)
    for part in ("train", "test"):
        some = data.part(part)
        labels = some.labels("label")
        for i in range(len(some)):
            path = folder / part / str(int(labels[i])) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(some.read(i).inputs[..., 0]).convert("RGB").save(path)
    save_file(
        {k: v.contiguous() for k, v in open_model(LITE, Wanted(SIZE, 3)).tensors().items()}, folder / "w.safetensors"
    )
    return folder


def fastai(python: str, folder: Path, what: str) -> dict[str, Any]:
    """Both settings; the faster one's row, with both times."""
    rows = {}
    for name, more in (("as it comes", []), ("to_channelslast()", ["--channels-last"])):
        call = [python, str(HERE / "peers" / "fastai_pictures.py"), str(folder), str(folder / "w.safetensors"), what]
        done = subprocess.run([*call, *more], stdout=subprocess.PIPE, text=True, check=True)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(f"fastai {what}, {name}: {rows[name]}", file=sys.stderr)
    key = (lambda r: min(r["epochs"])) if what in ("last", "all") else (lambda r: r["seconds"])
    faster = min(rows, key=lambda n: key(rows[n]))
    return {**rows[faster], "setting": faster, "both": {n: key(r) for n, r in rows.items()}}


def keras(python: str, folder: Path, what: str) -> dict[str, Any]:
    call = [python, str(HERE / "peers" / "keras_pictures.py"), str(folder), str(folder / "w.safetensors"), what]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"Keras {what}: {row}", file=sys.stderr)
    return row


# -- the whole ---------------------------------------------------------------------------------------------------------


ROWS = ("frozen", "command", "target", "last", "all")


def measure(python: str, only: str, kept: dict[str, Any]) -> dict[str, Any]:
    """Rows anew, each with its peers in turn; those that are not asked for stay as they were stored."""
    import headstart

    kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    # As pip does when it installs a package; a checkout may never have been imported, or not be allowed to write.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(Path(headstart.__file__).parent)], check=True)
    last = ("--strategy", "probe", "--stage", "last", "--image-size", str(SIZE))
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as cache:
        folder = prepare(Path(scratch))
        for name in ROWS if only == "" else only.split(","):
            if name == "command":
                kept[name] = {}
                folders = [Path(cache) / str(i) for i in range(3)]
                for way in ("cold", "warm"):
                    runs = sorted((command(f, *last) for f in folders), key=lambda run: run["seconds"])
                    kept[name] |= {way: {**runs[1], "all": [run["seconds"] for run in runs]}}
                continue
            own = command(Path(cache) / "other", "--strategy", "probe") if name == "target" else here(name)
            kept[name] = {"fastai": fastai(python, folder, name), "headstart": own}
            if name in ("frozen", "all"):
                kept[name]["keras"] = keras(python, folder, name)
    return kept


def table(kept: dict[str, Any]) -> str:
    lines = [
        "| EfficientNet-Lite0, 96 px, 4,000 / 1,000 digits | fastai | test | memory | Headstart | test | memory "
        "| ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]

    def row(name: str, peer: dict[str, Any], own: dict[str, Any], seconds: tuple[float, float]) -> None:
        ratio = f"{seconds[0] / seconds[1]:.{1 if seconds[0] > 2 * seconds[1] else 2}f}×"
        cells = [f"{s:.1f} s | {r['accuracy']:.3f} | {_memory(r)}" for r, s in zip((peer, own), seconds, strict=True)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {ratio} |")

    f, own = kept["frozen"]["fastai"], kept["frozen"]["headstart"]
    row("frozen body: 5 epochs; extraction and probe", f, own, (f["seconds"], own["seconds"]))
    for name in ("cold", "warm"):
        own = kept["command"][name]
        row(f"the same, whole command, cache {name}", f, own, (f["seconds"], own["seconds"]))
    t, own = kept["target"]["fastai"], kept["target"]["headstart"]
    row("until .98 on the test part; whole command", t, own, (t["seconds"], own["seconds"]))
    for name, words in (("last", "an epoch, last blocks and head"), ("all", "an epoch, everything")):
        peer, own = kept[name]["fastai"], kept[name]["headstart"]
        after = f"{words} (after {len(peer['epochs'])}; {own['epochs']})"
        row(after, peer, own, (min(peer["epochs"]), own["epoch"]))
    times = {"frozen": kept["frozen"]["headstart"]["seconds"], "all": kept["all"]["headstart"]["epoch"]}
    lines += [
        "",
        "| the same by Keras 3 (PyTorch) | Keras | test | memory | Headstart | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in (("frozen", "frozen body: 5 epochs"), ("all", "an epoch, everything")):
        peer = kept[name]["keras"]
        seconds = peer["seconds"] if name == "frozen" else min(peer["epochs"])
        ratio = f"{seconds / times[name]:.{1 if name == 'frozen' else 2}f}×"
        said = f"{seconds:.1f} s | {peer['accuracy']:.3f} | {_memory(peer)} | {times[name]:.1f} s | {ratio}"
        lines.append(f"| {words} | {said} |")
    phase, own = kept["last"]["headstart"]["phase"], kept["frozen"]["headstart"]
    lines += [
        "",
        f"Extraction runs at {own['throughput']:.0%} of the bare loop's speed ({own['bare']:,.0f} pictures a second).",
    ]
    lines += ["", f"Last blocks: activations kept after {phase['cut']}, {phase['views']} view of each sample."]
    return "\n".join(lines)


def _memory(row: dict[str, Any]) -> str:
    """The process's peak."""
    return f"{row['peak_memory_mb']:,} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    parser.add_argument("--peer", default=sys.executable, help="the Python of an environment that has fastai")
    parser.add_argument("--only", default="", help=f"rows to measure anew, of {', '.join(ROWS)}")
    parser.add_argument("--one", choices=["frozen", "last", "all"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(frozen() if asked.one == "frozen" else epochs(asked.one)))
        return
    if not asked.table:
        kept = json.loads(STORE.read_text()) if STORE.exists() and asked.only else {}
        STORE.write_text(json.dumps(measure(asked.peer, asked.only, kept), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
