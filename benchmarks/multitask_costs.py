"""What a step of every balancing method costs, in steps of equal weighting, for 2, 4 and 8 tasks.

    python benchmarks/multitask_costs.py             # measures, prints the table
    python benchmarks/multitask_costs.py --table     # prints what is stored

EfficientNet-Lite0 cut after blocks.4, 64 px, batches of 32 with a label of ten classes for every task, PyTorch in
float32. Method and equal weighting take turns; the ratio of their medians counts. "At parameters" is in units of as
many backward passes as there are tasks: (step - all of a plain step but its backward pass) / (tasks · backward), the
parts measured just before each step. "Own share" is the time inside the method itself, of the whole step: what
loss-based methods cost apart from passes through the network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

STORE = Path(__file__).parent / "results" / "multitask_costs.json"
ROUNDS, BLOCKS, BATCH, SIDE = 25, 5, 32, 64
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


def at_parameters(setups: Mapping[int, Setup], methods: list[str]) -> dict[tuple[int, str], float]:
    """(Tasks, method) -> backward passes per task.

    Every step of a method is compared with a step of the plain sum and a backward pass taken just before it, and the
    median of these ratios counts; all methods take part in every round, and all numbers of tasks in every block of
    rounds: a slow minute of the machine meets each of them, and what they are compared with.
    """
    from headstart.multitask import Balanced, make_balancer
    from headstart.train.update import OneBackward

    ratios: dict[tuple[int, str], list[float]] = {(t, name): [] for t in setups for name in methods}
    updates = {t: {name: Balanced(make_balancer(name), at="parameters") for name in methods} for t in setups}
    for count in [t for _ in range(BLOCKS) for t in setups]:
        setup = setups[count]
        for update in updates[count].values():
            setup.step(update)
        for _ in range(ROUNDS // BLOCKS):
            for name, update in updates[count].items():
                backward = seconds(setup.terms(0, None).total().backward)
                setup.optimizer.zero_grad()  # as every step leaves them: else what follows would be added to these
                plain = seconds(partial(setup.step, OneBackward()))
                whole = seconds(partial(setup.step, update))
                ratios[count, name].append((whole - (plain - backward)) / (count * backward))
    return {key: statistics.median(measured) for key, measured in ratios.items()}


def measure() -> dict[str, Any]:
    from headstart.core.registry import names
    from headstart.multitask import make_balancer

    rows: list[dict[str, Any]] = []
    options = {"fixed": {"weights": [1.0]}}
    needs = {n: make_balancer(n, **options.get(n, {})).needs for n in names("balancing") if n != "equal"}
    setups = {count: Setup(count) for count in TASKS}
    dear = at_parameters(setups, [name for name, what in needs.items() if what == "gramian"])
    for count, setup in setups.items():
        for name, what in needs.items():
            row: dict[str, Any] = {"tasks": count, "method": name, "needs": what, **at_features(setup, name)}
            if (count, name) in dear:
                row["at_parameters"] = dear[count, name]
            rows.append(row)
    return {"threads": torch.get_num_threads(), "rows": rows}


def table(kept: dict[str, Any]) -> str:
    rows = kept["rows"]
    heads = " | ".join(f"{t} tasks" for t in TASKS)
    lines = [
        f"| method | looks at | step, {heads} | own share, {heads} | at parameters, {heads} |",
        "|---" * (2 + 3 * len(TASKS)) + "|",
    ]
    for name in dict.fromkeys(r["method"] for r in rows):
        mine = {r["tasks"]: r for r in rows if r["method"] == name}
        first = mine[TASKS[0]]
        steps = " | ".join(f"{mine[t]['ratio']:.2f}" for t in TASKS)
        shares = " | ".join(f"{mine[t]['share']:.1%}" for t in TASKS)
        there = " | ".join(f"{mine[t]['at_parameters']:.2f}" if "at_parameters" in mine[t] else "" for t in TASKS)
        lines.append(f"| {name} | {first['needs']} | {steps} | {shares} | {there} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is stored and run nothing")
    if not parser.parse_args().table:
        from headstart.core.allocator import freed_memory_kept

        with freed_memory_kept():  # as the loop trains
            measured = measure()
        STORE.write_text(json.dumps(measured, indent=1) + "\n")
    print(table(json.loads(STORE.read_text())))


if __name__ == "__main__":
    main()
