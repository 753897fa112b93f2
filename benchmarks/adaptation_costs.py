"""What a step of every deep adaptation method costs, in units of a supervised step on the same two batches.

    python benchmarks/adaptation_costs.py

The unit is a step of cross-entropy on both batches (as if the target had labels). Methods that need one pass of each
batch should cost hardly more; those that declare more passes as many times that. EfficientNet-Lite0 cut after blocks.4,
64 px, two batches of 32, PyTorch in float32. Method and unit take turns, and the ratio of their medians counts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

STORE = Path(__file__).parent / "results" / "adaptation_costs.json"
ROUNDS, BATCH, SIDE = 9, 32, 64


def steps() -> dict[str, tuple[Callable[[], Any], int]]:
    """Method (and "supervised") -> a call that makes one step, and the passes it declares."""
    from headstart.adapt.deep import Setting, build, names
    from headstart.data.schema import Task
    from headstart.finetune.supervised import Supervised
    from headstart.models.model import Head, Model
    from headstart.models.opening import open_model
    from headstart.models.wanted import Wanted
    from headstart.train.batch import Batch, Feed, Terms
    from headstart.train.objective import Clock, Context, Objective, joint_losses
    from headstart.train.update import OneBackward, Step

    task, setting = Task("y", "single-label", tuple("0123456789")), Setting("y", 10, "plain")
    random = torch.Generator().manual_seed(0)

    class Both(Objective):
        """Cross-entropy on both batches."""

        feeds = (setting.source, Feed("target", "target", views=("plain",)))

        def losses(self, model: Any, batches: Any, ctx: Any, only: Any = None) -> Any:
            each = {
                name: torch.nn.functional.cross_entropy(model(b, "plain").logits["y"], labels[name])
                for name, b in batches.items()
            }
            return Terms(each)

    def batch(name: str, labelled: bool) -> Any:
        x = torch.randint(0, 255, (BATCH, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
        y = {"y": labels[name]} if labelled else {}
        there = {"y": torch.ones(BATCH, dtype=torch.bool)} if labelled else {}
        return Batch([str(i) for i in range(BATCH)], {"plain": {"x": x}}, y, there, None, torch.arange(BATCH))

    labels = {name: torch.randint(0, 10, (BATCH,), generator=random) for name in ("train", "target")}
    batches = {"train": batch("train", True), "target": batch("target", False)}

    def step_of(name: str) -> tuple[Callable[[], Any], int]:
        backbone = open_model("sample:efficientnet_lite0", Wanted(size=SIDE)).end_at("blocks.4")
        backbone.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            width = backbone.pool(backbone.run(backbone.begin(batches["train"].views["plain"])), 3).shape[1]
        model = Model(backbone.eval(), {"y": Head(width, 10)}, 3)
        objectives: list[Any] = [Both()] if name == "supervised" else []
        update: Any = OneBackward()
        passes = 1
        if name != "supervised":
            recipe = build(name, setting)
            plain = [] if recipe.alone else [Supervised((task,), view="plain")]
            objectives, update, passes = [*plain, *recipe.objectives], recipe.update, recipe.passes
        ctx = Context(model, None, 0, clock=Clock(0, 50, 100, 1))  # type: ignore[arg-type]
        ctx.teacher = model
        for objective in objectives:
            for part, module in objective.build(ctx).items():
                model.parts[part] = module
            if hasattr(objective, "labels"):
                objective.labels = labels["target"]
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def one() -> None:
            update(Step(model, lambda i, only: joint_losses(objectives, model, batches, ctx, only), [1.0], optimizer))

        return one, passes

    return {name: step_of(name) for name in ("supervised", *names())}


def main() -> None:
    made = steps()
    unit, _ = made.pop("supervised")
    rows = []
    for name, (step, passes) in made.items():
        times: dict[str, list[float]] = {"unit": [], "method": []}
        for call in (unit, step):
            call()
        for _ in range(ROUNDS):
            for key, call in (("unit", unit), ("method", step)):
                start = time.perf_counter()
                call()
                times[key].append(time.perf_counter() - start)
        ratio = statistics.median(times["method"]) / statistics.median(times["unit"])
        spread = np.array(times["method"]) / np.array(times["unit"])
        rows.append(
            {"method": name, "passes": passes, "ratio": ratio, "quartiles": np.quantile(spread, [0.25, 0.75]).tolist()}
        )
    STORE.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1) + "\n")
    print("| method | passes declared | step, in supervised steps on both batches | middle half |\n|---|---|---|---|")
    for r in rows:
        print(f"| {r['method']} | {r['passes']} | {r['ratio']:.2f} | {r['quartiles'][0]:.2f}–{r['quartiles'][1]:.2f} |")


if __name__ == "__main__":
    main()
