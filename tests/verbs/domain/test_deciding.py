"""Labels of the target that were given: which of them count, and what they decide."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core.errors import DataError
from headstart.data.schema import MISSING, Task
from headstart.verbs.domain import choosing, rows
from headstart.verbs.domain.choosing import choose
from headstart.verbs.domain.gap import gap
from headstart.verbs.domain.pair import LABELLED, TARGET, UNSEEN, Oracle, Pair, _labelled

TASK = Task("label", "single-label", ("bad", "good"))
METHODS = ("source-only", "coral", "meda")


def answers(labels: np.ndarray, right: int) -> np.ndarray:
    """Logits that are right on the first so many samples."""
    said = np.where(np.arange(len(labels)) < right, labels, 1 - labels)
    return np.eye(2)[said] * 4.0


class TestLabels:
    @pytest.fixture
    def job(self) -> Any:
        data = hs.load_data((["a b", "c d", "e f", "g h"], ["bad", "good", "bad", "good"]))
        return SimpleNamespace(task=TASK, dataset=data)

    def test_samples_without_one_are_left_out(self, job: Any, tmp_path: Path) -> None:
        table = tmp_path / "few.csv"
        table.write_text("text,label\na b,good\nc d,\ne f,bad\ng h,\n")
        found = _labelled(job, str(table))
        named = found.schema.tasks[0].classes
        assert [named[i] for i in found.labels()] == ["good", "bad"]

    def test_none_at_all_are_refused(self, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = SimpleNamespace(schema=job.dataset.schema, labels=lambda: np.full(3, MISSING))
        monkeypatch.setattr("headstart.verbs.domain.pair._read_labels", lambda *_: data)
        with pytest.raises(DataError, match=r"No sample of few\.csv has a label"):
            _labelled(job, "few.csv")


class TestChoice:
    def chosen(self, right: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> choosing.Choice:
        labels = np.arange(40) % 2
        data = SimpleNamespace(schema=SimpleNamespace(tasks=(TASK,)), labels=lambda: labels)
        pair: Any = SimpleNamespace(job=SimpleNamespace(task=TASK, parts={LABELLED: data}))
        made = {name: SimpleNamespace(logits=answers(labels, n)) for name, n in right.items()}
        monkeypatch.setattr(choosing, "see", lambda pair, model, part: made[model])
        attempts: Any = [SimpleNamespace(name=name) for name in right]
        return choose(pair, attempts, {}, "infomax", lambda attempt: attempt.name)

    def test_the_best_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.chosen({"source-only": 20, "coral": 30, "meda": 38}, monkeypatch)
        assert (found.taken.name, found.refused, found.by) == ("meda", None, "target labels")
        assert "95% +" in found.reasons[0]

    def test_nothing_is_taken_that_is_not_better(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.chosen({"source-only": 30, "coral": 30, "meda": 20}, monkeypatch)
        assert found.taken.name == "source-only"
        assert found.refused is not None
        assert found.refused.startswith("No adaptation is handed back")


class TestVerdict:
    def of(self, monkeypatch: pytest.MonkeyPatch, unseen: np.ndarray | None) -> dict[str, Any]:
        """Adapting helps on what was adapted to, and harms on the test part."""
        labels = np.arange(60) % 2
        seen = {"source-only": answers(labels, 20), "coral": answers(labels, 55)}
        held = {"source-only": answers(labels, 55), "coral": answers(labels, 20)}
        oracle = Oracle({TARGET: labels} | ({} if unseen is None else {UNSEEN: unseen}))
        attempts = [SimpleNamespace(name=n, target=SimpleNamespace(logits=x)) for n, x in seen.items()]
        outcome: Any = SimpleNamespace(attempts=attempts, start=None, seen={})
        job: Any = SimpleNamespace(task=TASK)
        monkeypatch.setattr(rows, "load_model", lambda pair, name, start: name)
        monkeypatch.setattr(rows, "see", lambda pair, model, part: SimpleNamespace(logits=held[model]))
        found = rows.verdict(Pair(job, oracle), outcome, {TARGET: seen["coral"], UNSEEN: held["coral"]})
        assert found is not None
        assert found["compared_with"] == "source-only"
        return found

    def test_it_is_on_the_test_part_where_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.of(monkeypatch, None)["verdict"] == "positive"
        assert self.of(monkeypatch, np.arange(60) % 2)["verdict"] == "negative"
        assert self.of(monkeypatch, np.full(60, MISSING))["verdict"] == "positive", "a test part without labels"


def test_the_linear_mmd_does_not_depend_on_the_order_of_the_samples() -> None:
    """Of one distribution it is 0 in expectation; neighbours of one class would make it large."""
    random = torch.Generator().manual_seed(0)
    y = torch.arange(400) // 100
    x, z = (3 * torch.eye(4)[y] + 0.2 * torch.randn(400, 4, generator=random) for _ in range(2))
    # Stored by class in another order: a pair of neighbours is of one class, and across domains never.
    z = z[(torch.arange(400) + 100) % 400]
    found = gap(x, z)["mmd"]
    assert abs(found["linear"]) < 0.15
    assert found["p"] > 0.05
