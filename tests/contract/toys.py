"""Tiny networks, data and objectives that drive the trunk. They are tests of its shape, not features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.data.schema import Sample, Schema, Task
from headstart.models.backbone import StagedBackbone, State
from headstart.models.model import Head, Model
from headstart.multitask import Balanced, make_balancer
from headstart.train.batch import Batch, Feed, Terms
from headstart.train.objective import Objective
from headstart.train.update import Alternate, OneBackward, Turn

CLASSES, WIDTH, VOCABULARY = 3, 16, 20


# -- data ------------------------------------------------------------------------------------------------------------


class Toy:
    """An in-memory data set with one or two label columns."""

    def __init__(
        self, inputs: np.ndarray, labels: np.ndarray, tasks: tuple[str, ...] = ("y",), name: str = "toy"
    ) -> None:
        self.inputs, self._labels, self.name = inputs, labels, name
        self.schema = Schema("image", tuple(Task(t, "single-label", ("a", "b", "c")) for t in tasks))
        self.ids = [f"{name}-{i}" for i in range(len(inputs))]

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, i: int, size_hint: int | None = None) -> Sample:
        return Sample(self.ids[i], self.inputs[i], {})

    def labels(self, task: str | None = None) -> np.ndarray:
        return self._labels


def toy_parts(family: str, tasks: tuple[str, ...] = ("y",), n: int = 48) -> dict[str, Toy]:
    """Parts "train", "source", "target" for pictures (cnn, transformer) or token sequences (rnn)."""
    r = np.random.default_rng(1)
    y = r.integers(0, CLASSES, n)
    if family == "rnn":
        x = ((y[:, None] * 5 + r.integers(0, 5, (n, 9))) % VOCABULARY).astype(np.int64)
        shifted = x.copy()
    else:
        base = r.normal(size=(CLASSES, 8, 8, 3))
        x = (base[y] + 0.5 * r.normal(size=(n, 8, 8, 3))).astype(np.float32)
        shifted = x * 1.3 + 0.4
    target = Toy(shifted, y, tasks, "target")
    return {"train": Toy(x, y, tasks), "source": Toy(x, y, tasks, "source"), "target": target}


# -- networks --------------------------------------------------------------------------------------------------------


class Conv(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.Dropout(0.1)
        self.width = width

    def forward(self, s: State) -> State:
        return {**s, "x": self.drop(F.relu(self.norm(self.conv(s["x"]))))}


class Embed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.width = nn.Embedding(VOCABULARY, WIDTH), WIDTH

    def forward(self, s: State) -> State:
        return {**s, "x": self.table(s["x"])}


class Recurrent(nn.Module):
    """An LSTM layer that takes and gives its state as `carry.NAME`, (B, 2, H) batch first."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.lstm, self.width = name, nn.LSTM(WIDTH, WIDTH, batch_first=True), WIDTH
        self.drop = nn.Dropout(0.1)

    def forward(self, s: State) -> State:
        carried = s.get(f"carry.{self.name}")
        before = None if carried is None else (carried[:, 0][None].contiguous(), carried[:, 1][None].contiguous())
        x, (h, c) = self.lstm(s["x"], before)
        return {**s, "x": self.drop(x), f"carry.{self.name}": torch.stack([h[0], c[0]], 1).detach()}


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.position, self.width = (
            nn.Conv2d(3, WIDTH, 4, 4),
            nn.Parameter(torch.zeros(1, 4, WIDTH)),
            WIDTH,
        )

    def forward(self, s: State) -> State:
        return {**s, "x": self.project(s["x"]).flatten(2).transpose(1, 2) + self.position}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.width = WIDTH

    def forward(self, s: State) -> State:
        return {**s, "x": self.layer(s["x"])}


class ToyBackbone(StagedBackbone):
    """Turns toy samples into tensors; the view "strong" adds noise drawn from the sample's own seed."""

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        x = torch.as_tensor(sample.inputs)
        if x.dtype == torch.int64:
            return {"x": x}
        x = x.permute(2, 0, 1).contiguous()
        if view in ("train", "strong"):
            x = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        return {"x": x}


def toy_model(family: str, tasks: tuple[str, ...] = ("y",), seed: int = 0) -> Model:
    """A three-stage network of a family with a head per task."""
    torch.manual_seed(seed)
    stages: dict[str, nn.Module]
    if family == "cnn":
        stages = {"stem": Conv(3, 8), "body.0": Conv(8, 8), "body.1": Conv(8, WIDTH)}
    elif family == "rnn":
        stages = {"embed": Embed(), "layer.0": Recurrent("layer.0"), "layer.1": Recurrent("layer.1")}
    else:
        stages = {"patches": Patches(), "block.0": Block(), "block.1": Block()}
    backbone = ToyBackbone(stages, family)
    backbone.source_head = nn.Linear(WIDTH, 5).requires_grad_(False)
    return Model(backbone, {t: Head(WIDTH, CLASSES) for t in tasks})


# -- objectives ------------------------------------------------------------------------------------------------------


def cross_entropy(logits: Tensor, batch: Batch, task: str = "y") -> Tensor:
    return F.cross_entropy(logits, batch.labels[task])


class CrossEntropy(Objective):
    def losses(self, model, batches, ctx, only=None):
        b = batches["train"]
        return Terms({"ce": cross_entropy(model(b).logits["y"], b)})


class TowardsTeacher(Objective):
    """An L2-SP-like penalty: a second objective composed with cross-entropy."""

    needs = frozenset({"teacher"})

    def losses(self, model, batches, ctx, only=None):
        pairs = zip(model.backbone.parameters(), ctx.teacher.backbone.parameters(), strict=True)
        return Terms({"l2sp": 0.05 * torch.stack([((p - q) ** 2).sum() for p, q in pairs]).sum()})


class Features(Objective):
    """A DELTA-like penalty on stage outputs, weighted by something `prepare` measured."""

    needs = frozenset({"teacher", "states"})

    def prepare(self, ctx):
        total = torch.zeros(())
        for batch in ctx.sweep("train"):
            total = total + ctx.model(batch).features.abs().mean()
        self.weight = total.detach()

    def losses(self, model, batches, ctx, only=None):
        stages = tuple(model.backbone.stages)
        mine = model(batches["train"], keep=stages)
        with torch.no_grad():
            theirs = ctx.teacher(batches["train"], keep=stages)
        gaps = [((mine.states[s]["x"] - theirs.states[s]["x"]) ** 2).mean() for s in mine.states]
        return Terms({"delta": 0.01 * self.weight * torch.stack(gaps).sum()})

    def state(self):
        return {"weight": self.weight}

    def load_state(self, state):
        self.weight = state["weight"]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


SOURCE, TARGET = Feed("source", "source", paces=True), Feed("target", "target", labels=False)


class DomainAdversarial(Objective):
    """DANN-like: two feeds, target labels masked, a discriminator built by the method."""

    feeds = (SOURCE, TARGET)

    def build(self, ctx):
        return {"discriminator": nn.Linear(WIDTH, 1)}

    def losses(self, model, batches, ctx, only=None):
        a, b = batches["source"], batches["target"]
        masked = not b.labels and not b.present
        assert masked, "target labels must be masked"
        x, y = model(a), model(b)
        strength = 2 / (1 + np.exp(-10 * ctx.clock.progress)) - 1
        both = _Reverse.apply(torch.cat([x.features, y.features]), strength)
        side = torch.cat([torch.ones(len(a), 1), torch.zeros(len(b), 1)])
        domain = F.binary_cross_entropy_with_logits(model.parts["discriminator"](both), side)
        return Terms({"ce": cross_entropy(x.logits["y"], a), "domain": domain})


class TwoClassifiers(Objective):
    """MCD-like: for several backward passes in one step."""

    feeds = (SOURCE, TARGET)

    def build(self, ctx):
        return {"second": nn.Linear(WIDTH, CLASSES)}

    def losses(self, model, batches, ctx, only=None):
        terms = Terms()
        if only is None or "ce" in only:
            o, b = model(batches["source"]), batches["source"]
            terms.tasks["ce"] = cross_entropy(o.logits["y"], b) + cross_entropy(model.parts["second"](o.features), b)
        if only is None or "gap" in only:
            o = model(batches["target"])
            terms.tasks["gap"] = (o.logits["y"].softmax(1) - model.parts["second"](o.features).softmax(1)).abs().mean()
        return terms


MCD = Alternate(
    Turn(("backbone", "heads", "second"), ("ce",)),
    Turn(("heads", "second"), ("ce", "-gap")),
    Turn(("backbone",), ("gap",), times=2),
)


class TwoTasks(Objective):
    def losses(self, model, batches, ctx, only=None):
        b = batches["train"]
        o = model(b)
        return Terms({t: cross_entropy(o.logits[t], b, t) for t in model.tasks}, shared=o.features)


class Relabel(Objective):
    """SHOT-like: an epoch hook sweeps the unlabelled target and makes pseudo-labels."""

    feeds = (Feed("target", "target", labels=False, paces=True),)

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}
        self.epochs = 0

    def epoch(self, ctx):
        self.epochs += 1
        features, chances, ids = [], [], []
        for b in ctx.sweep("target"):
            assert not b.labels
            o = ctx.model(b)
            features.append(o.features)
            chances.append(o.logits["y"].softmax(1))
            ids += b.ids
        f, p = torch.cat(features), torch.cat(chances)
        centres = F.normalize(p.T @ f, dim=1)
        self.labels = dict(zip(ids, (F.normalize(f, dim=1) @ centres.T).argmax(1).tolist(), strict=True))

    def losses(self, model, batches, ctx, only=None):
        b = batches["target"]
        logits = model(b).logits["y"]
        y = torch.tensor([self.labels[i] for i in b.ids])
        p = logits.softmax(1)
        return Terms({"entropy": -(p * p.log()).sum(1).mean(), "pseudo": 0.3 * F.cross_entropy(logits, y)})

    def state(self):
        return {"labels": self.labels, "epochs": self.epochs}

    def load_state(self, state):
        self.labels, self.epochs = state["labels"], state["epochs"]


class LanguageModel(Objective):
    """Stateful: row i of a batch continues row i of the one before."""

    feeds = (Feed("train", "train", labels=False, order="stream", paces=True),)

    def __init__(self) -> None:
        self.carried: list[bool] = []

    def build(self, ctx):
        return {"decoder": nn.Linear(WIDTH, VOCABULARY)}

    def losses(self, model, batches, ctx, only=None):
        b = batches["train"]
        view = b.views["train"]
        self.carried.append(any(k.startswith("carry.") for k in view))
        o = model(b)
        ctx.carry = {k: v for k, v in o.final.items() if k.startswith("carry.")}
        h, _ = model.backbone.dense(o.final)
        return Terms(
            {"lm": F.cross_entropy(model.parts["decoder"](h[:, :-1]).flatten(0, 1), view["x"][:, 1:].flatten())}
        )


class TwoViews(Objective):
    """FixMatch-like: an unlabelled feed in a weak and a strong view."""

    feeds = (Feed(paces=True), Feed("more", "target", labels=False, views=("weak", "strong")))

    def losses(self, model, batches, ctx, only=None):
        b, u = batches["train"], batches["more"]
        with torch.no_grad():
            sure, y = model(u, "weak").logits["y"].softmax(1).max(1)
        strong = F.cross_entropy(model(u, "strong").logits["y"], y, reduction="none")
        return Terms({"ce": cross_entropy(model(b).logits["y"], b), "consistency": ((sure > 0.4) * strong).mean()})


class LossWeights(OneBackward):
    """An update with state of its own: weights that follow the losses."""

    def __init__(self) -> None:
        self.smooth: dict[str, float] = {}

    def __call__(self, step):
        logs = super().__call__(step)
        for name, value in logs.items():
            self.smooth[name] = 0.9 * self.smooth.get(name, value) + 0.1 * value
        return logs

    def state(self):
        return {"smooth": self.smooth}

    def load_state(self, state):
        self.smooth = state["smooth"]


SCENARIOS: Mapping[str, tuple] = {
    # name: (families, tasks, objectives, update)
    "penalty": (
        ("cnn", "rnn", "transformer"),
        ("y",),
        lambda: [CrossEntropy(), TowardsTeacher(), Features()],
        OneBackward,
    ),
    "two feeds": (("cnn", "rnn", "transformer"), ("y",), lambda: [DomainAdversarial()], OneBackward),
    "several backwards": (("cnn", "rnn", "transformer"), ("y",), lambda: [TwoClassifiers()], lambda: MCD),
    "gramian": (
        ("cnn", "rnn", "transformer"),
        ("a", "b"),
        lambda: [TwoTasks()],
        lambda: Balanced(make_balancer("mgda")),
    ),
    "gramian and penalty": (
        ("cnn",),
        ("a", "b"),
        lambda: [TwoTasks(), TowardsTeacher()],
        lambda: Balanced(make_balancer("mgda")),
    ),
    "balanced losses": (
        ("cnn", "rnn", "transformer"),
        ("a", "b"),
        lambda: [TwoTasks()],
        lambda: Balanced(make_balancer("famo"), watch=2),
    ),
    "relabel": (("cnn", "rnn", "transformer"), ("y",), lambda: [Relabel()], LossWeights),
    "language model": (("rnn",), ("y",), lambda: [LanguageModel()], OneBackward),
    "two views": (("cnn", "rnn", "transformer"), ("y",), lambda: [TwoViews()], OneBackward),
}


class TestTimeEntropy:
    """TENT-like predictor: the same step, at prediction time, on the norms' scales only."""

    __test__ = False

    def __init__(self, model: Model) -> None:
        self.model = model
        self.start = {k: v.clone() for k, v in model.state_dict().items()}
        model.requires_grad_(False)
        norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))]
        self.parameters = [p.requires_grad_(True) for m in norms for p in m.parameters()]
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.05)

    def predict(self, batch: Batch) -> Tensor:
        from headstart.train.update import Step

        self.model.train()
        p: list[Tensor] = []

        def terms(i: int, only: frozenset[str] | None) -> Terms:
            chances = self.model(batch).logits["y"].softmax(1)
            p.append(chances.detach())
            return Terms({"entropy": -(chances * chances.log()).sum(1).mean()})

        OneBackward()(Step(self.model, terms, [1.0], self.optimizer))
        return p[0]

    def reset(self) -> None:
        self.model.load_state_dict(self.start)
