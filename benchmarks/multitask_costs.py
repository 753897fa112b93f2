"""What a step of every balancing method costs, in steps of equal weighting, for 2, 4 and 8 tasks.

    python benchmarks/multitask_costs.py             # measures, prints the table
    python benchmarks/multitask_costs.py --table     # prints what is stored

EfficientNet-Lite0 cut after blocks.4, 64 px, batches of 32 with a label of ten classes for every task, PyTorch in
float32. Method and equal weighting take turns; the ratio of their medians counts. "At parameters" (two tasks) is in
units of as many backward passes as there are tasks: (step - forward - optimizer) / (tasks · backward), the parts
measured in turn too. "Own share" is the time inside the method itself, of the whole step: what loss-based methods cost
apart from passes through the network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STORE = Path(__file__).parent / "results" / "multitask_costs.json"
ROUNDS, BATCH, SIDE = 15, 32, 64
TASKS = (2, 4, 8)


class Setup:
    """A model with T heads and one batch."""

    def __init__(self, count: int) -> None:
        from headstart.data.schema import Task
        from headstart.finetune.supervised import Supervised
        from headstart.models.model import Head, Model
        from headstart.models.opening import open_model
        from headstart.models.wanted import Wanted
        from headstart.train.batch import Batch
        from headstart.train.objective import Clock, Context

        random = torch.Generator().manual_seed(0)
        names = [f"t{i}" for i in range(count)]
        tasks = tuple(Task(name, "single-label", tuple("0123456789")) for name in names)
        backbone = open_model("sample:efficientnet_lite0", Wanted(size=SIDE)).end_at("blocks.4")
        backbone.to(memory_format=torch.channels_last)
        x = torch.randint(0, 255, (BATCH, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
        labels = {name: torch.randint(0, 10, (BATCH,), generator=random) for name in names}
        there = {name: torch.ones(BATCH, dtype=torch.bool) for name in names}
        ids = [str(i) for i in range(BATCH)]
        self.batch = Batch(ids, {"plain": {"x": x}}, labels, there, None, torch.arange(BATCH))
        with torch.inference_mode():
            width = backbone.pool(backbone.run(backbone.begin(self.batch.views["plain"])), 3).shape[1]
        self.model = Model(backbone.eval(), {name: Head(width, 10) for name in names}, 3)
        self.ctx = Context(self.model, None, 0, clock=Clock(0, 50, 100, 1))  # type: ignore[arg-type]
        self.objective = Supervised(tasks, view="plain")
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=True)

    def terms(self, i: int, only: Any) -> Any:
        from headstart.train.objective import joint_losses

        return joint_losses([self.objective], self.model, {"train": self.batch}, self.ctx, only)

    def step(self, update: Any) -> None:
        from headstart.train.update import Step

        update(Step(self.model, self.terms, [1.0], self.optimizer))


class Timed:
    """Counts the seconds inside a balancing method."""

    def __init__(self, balancer: Any) -> None:
        self.seconds = 0.0
        for name in ("weigh", "learn"):
            setattr(balancer, name, self._timed(getattr(balancer, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def at_features(setup: Setup, name: str) -> dict[str, float]:
    from headstart.multitask import Balanced, make_balancer

    options = {"weights": [1.0] * len(setup.model.tasks)} if name == "fixed" else {}
    balancer = make_balancer(name, **options)
    timed = Timed(balancer)
    update, unit = Balanced(balancer), Balanced(make_balancer("equal"))
    for u in (unit, update):
        setup.step(u)
    timed.seconds = 0.0
    pairs = [(seconds(lambda: setup.step(unit)), seconds(lambda: setup.step(update))) for _ in range(ROUNDS)]
    plain, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {"ratio": ours / plain, "share": timed.seconds / sum(b for _, b in pairs)}


def at_parameters(setup: Setup, name: str) -> float:
    from headstart.multitask import Balanced, make_balancer

    update = Balanced(make_balancer(name), at="parameters")
    setup.step(update)
    count = len(setup.model.tasks)
    rows = []
    for _ in range(ROUNDS):
        setup.optimizer.zero_grad()
        start = time.perf_counter()
        loss = setup.terms(0, None).total()
        forward = time.perf_counter() - start
        backward = seconds(loss.backward)
        optimizer = seconds(setup.optimizer.step)
        setup.optimizer.zero_grad()  # as every step leaves them: else the method's would be added to these
        rows.append((forward, backward, optimizer, seconds(lambda: setup.step(update))))
    forward, backward, optimizer, whole = (statistics.median(column) for column in zip(*rows, strict=True))
    return (whole - forward - optimizer) / (count * backward)


def measure() -> dict[str, Any]:
    from headstart.core.registry import names
    from headstart.multitask import make_balancer

    rows: list[dict[str, Any]] = []
    for count in TASKS:
        setup = Setup(count)
        for name in (n for n in names("balancing") if n != "equal"):
            options = {"weights": [1.0] * count} if name == "fixed" else {}
            needs = make_balancer(name, **options).needs
            row: dict[str, Any] = {"tasks": count, "method": name, "needs": needs, **at_features(setup, name)}
            if needs == "gramian" and count == TASKS[0]:
                row["at_parameters"] = at_parameters(setup, name)
            rows.append(row)
    return {"threads": torch.get_num_threads(), "rows": rows}


def table(kept: dict[str, Any]) -> str:
    rows = kept["rows"]
    heads = " | ".join(f"{t} tasks" for t in TASKS)
    lines = [
        f"| method | looks at | step, {heads} | own share, {heads} | at parameters, {TASKS[0]} tasks |",
        "|---" * (3 + 2 * len(TASKS)) + "|",
    ]
    for name in dict.fromkeys(r["method"] for r in rows):
        mine = {r["tasks"]: r for r in rows if r["method"] == name}
        first = mine[TASKS[0]]
        steps = " | ".join(f"{mine[t]['ratio']:.2f}" for t in TASKS)
        shares = " | ".join(f"{mine[t]['share']:.1%}" for t in TASKS)
        there = f"{first['at_parameters']:.2f}" if "at_parameters" in first else ""
        lines.append(f"| {name} | {first['needs']} | {steps} | {shares} | {there} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    if not parser.parse_args().table:
        STORE.write_text(json.dumps(measure(), indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
