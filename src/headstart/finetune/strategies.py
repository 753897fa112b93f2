"""The strategies of fine-tuning, written on stages and families, never on an architecture's names.

What all do by default is `headstart.finetune.advice`; what one does otherwise stands in its registration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.core.errors import ConfigError
from headstart.core.registry import get, register
from headstart.finetune.advice import common
from headstart.train.phase import Phase, Strategy


@dataclass(frozen=True)
class Situation:
    """What a strategy is made for.

    Attributes
    ----------
    stages
        Stage -> number of its parameters, from input to output, of the network as it will be trained.
    family
        "cnn", "transformer" or "rnn".
    samples
        Labelled samples that are trained on.
    chosen
        Options of the run that override the strategy's defaults; None values do not.
    pretrained
        Whether somebody trained the network: one with random weights learns at one rate throughout, and nothing of
        it is spared.
    """

    stages: Mapping[str, int]
    family: str
    samples: int
    chosen: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = True

    def settings(self, strategy: str) -> dict[str, Any]:
        """Defaults of the strategy for the family, overridden by what was chosen."""
        defaults = get("strategy", strategy).defaults_for(self.family)
        random = {} if self.pretrained else {"layer_decay": 1.0, "spare": 0.0}
        return {**defaults, **random, **{k: v for k, v in self.chosen.items() if v is not None}}


def _defaults(**changes: Any) -> dict[str, dict[str, Any]]:
    """The common advice with changes for all families (a plain value) or for one (a dict by family)."""
    made = common()
    for key, value in changes.items():
        if isinstance(value, dict):
            for family, v in value.items():
                made[family][key] = v
        else:
            for values in made.values():
                values.pop(key, None)
            made["any"][key] = value
    return made


def rates(stages: Sequence[str], lr: float, decay: float, head: float) -> dict[str, float]:
    """Discriminative rates: `lr` at the last stage, times `decay` for each stage before it; `head` for the head.

    >>> rates(["a", "b", "c"], 1.0, 0.5, 3.0)
    {'a': 0.25, 'b': 0.5, 'c': 1.0, 'head': 3.0}
    """
    count = len(stages)
    return {name: lr * decay ** (count - 1 - i) for i, name in enumerate(stages)} | {"head": head}


def without_spared(stages: Mapping[str, int], share: float) -> list[str]:
    """Stages without the leading ones that together hold at most `share` of the parameters.

    In a CNN the first stages are a few general filters on the largest maps: a percent of the parameters, and half of
    the cost of a step.

    >>> without_spared({"stem": 1, "a": 9, "b": 90, "c": 900}, 0.03)
    ['b', 'c']
    """
    total, before = sum(stages.values()), 0
    kept: list[str] = []
    for name, count in stages.items():
        before += count
        if kept or before > share * total:
            kept.append(name)
    return kept


def epochs_for(samples: int, settings: dict[str, Any]) -> int:
    """Epochs that give about `steps` steps, within bounds: small data need more passes to learn as much.

    Source: Mosbach et al. 2021 (arXiv 2006.04884) and Zhang et al. 2021 (arXiv 2006.05987): few samples need more
    steps, not only more epochs of the same count.
    """
    if settings.get("epochs") is not None:
        return settings["epochs"]
    per_epoch = math.ceil(samples / (settings["batch_size"] * settings.get("accumulate", 1)))
    return max(settings["least_epochs"], min(settings["most_epochs"], round(settings["steps"] / per_epoch)))


def _phase(name: str, rates_: dict[str, float], epochs: int, s: dict[str, Any], **changes: Any) -> Phase:
    values: dict[str, Any] = {
        "name": name,
        "rates": rates_,
        "epochs": epochs,
        "schedule": s["schedule"],
        "warmup": s["warmup"],
        "batch_size": s["batch_size"],
        "accumulate": s.get("accumulate", 1),
        "weight_decay": s["weight_decay"],
        "clip": s["clip"],
        "bn": s["bn"],
        "average": s["ema"] or None,
        "patience": s.get("patience"),
        "label_smoothing": s["label_smoothing"],
    }
    return Phase(**{**values, **changes})


@register(
    "strategy",
    "probe",
    summary="frozen features and an exact linear solver; the stage, grid and size chosen by cross-validation",
    source="Alain & Bengio 2017 (arXiv 1610.01644); the choice of stage is measured, see docs/strategies.md",
)
def probe(situation: Situation) -> Strategy:
    """Nothing is trained by gradients: no phases."""
    return Strategy("probe", (), "probe")


@register(
    "strategy",
    "partial",
    summary="trains the last k stages and a new head; everything before is frozen",
    source="Yosinski et al. 2014 (arXiv 1411.1792)",
    defaults=_defaults(last_k=2, head_factor=3.0),
)
def partial(situation: Situation) -> Strategy:
    s = situation.settings("partial")
    count, k = len(situation.stages), s["last_k"]
    if k > count:
        raise ConfigError(f"The network has {count} stages; --last-k {k} asks for more.", f"Use at most {count}.")
    stages = list(situation.stages)[-k:]
    return Strategy("partial", (_one_phase("last stages", stages, situation, s),), "random")


@register(
    "strategy",
    "full",
    summary="trains everything from a new head, with lower rates for earlier stages",
    source="rates per layer: Howard & Ruder 2018 (arXiv 1801.06146); decay: BEiT, Bao et al. 2022 (arXiv 2106.08254)",
    defaults=_defaults(head_factor=3.0, steps={"any": 400}),
)
def full(situation: Situation) -> Strategy:
    s = situation.settings("full")
    return Strategy("full", (_one_phase("all", list(situation.stages), situation, s),), "random")


@register(
    "strategy",
    "gradual",
    summary="unfreezes from the top: the head first, then one stage more per phase, at last everything",
    source="Howard & Ruder 2018, ULMFiT (arXiv 1801.06146), section 3.3",
    defaults=_defaults(head_factor=3.0, steps={"any": 400}, schedule="slanted-triangular"),
)
def gradual(situation: Situation) -> Strategy:
    """The head alone, then one more stage per phase for at most four phases, then everything for half of the epochs."""
    return Strategy("gradual", _unfreezing(situation, situation.settings("gradual")), "random")


def _unfreezing(situation: Situation, s: dict[str, Any]) -> tuple[Phase, ...]:
    names = list(situation.stages)
    total = max(2, epochs_for(situation.samples, s))
    depths = range(min(4, len(names) - 1) + 1)
    each = max(1, round(total / 2 / len(depths)))
    head = s["lr"] * s["head_factor"]
    phases = []
    for depth in depths:
        given = rates(names[len(names) - depth :], s["lr"], s["layer_decay"], head)
        phases.append(_phase(f"last {depth}" if depth else "head", given, each, s, patience=None))
    rest = max(1, total - each * len(depths))
    phases.append(_phase("all", rates(names, s["lr"], s["layer_decay"], head), rest, s))
    return tuple(phases)


@register(
    "strategy",
    "lp-ft",
    summary="the probe's solution becomes the head, then the network is trained; it ends where it probes best",
    source="Kumar et al. 2022 (arXiv 2202.10054); ending early and sparing the first stages: docs/strategies.md",
    defaults=_defaults(head_factor=0.1, spare={"cnn": 0.03}),
)
def lp_ft(situation: Situation) -> Strategy:
    """Of a CNN, the leading stages with at most 3% of the parameters stay frozen: they cost most and change least.

    The head is solved already, so its rate is a tenth of the network's: at the full rate hundreds of its weights move
    together and its solution is lost in the first steps.
    """
    s = situation.settings("lp-ft")
    stages = without_spared(situation.stages, s["spare"])
    return Strategy("lp-ft", (_one_phase("all", stages, situation, s),), "probe")


@register(
    "strategy",
    "ulmfit",
    summary="language modelling on the target's texts first, then gradual unfreezing; for texts",
    source="Howard & Ruder 2018, ULMFiT (arXiv 1801.06146), sections 3.2 and 3.3: rates / 2.6, cut .1, ratio 32",
    defaults=_defaults(
        head_factor=3.0,
        steps={"any": 400},
        schedule="slanted-triangular",
        layer_decay=1 / 2.6,
        pretraining_epochs=10,
        pretraining_factor=0.5,
    ),
    needs={"text"},
)
def ulmfit(situation: Situation) -> Strategy:
    """The second and third step of ULMFiT; the first, a general language model, is what `run:` gives.

    A Transformer is trained on masked words instead. The labels of the texts are not looked at in the first phase.
    """
    s = situation.settings("ulmfit")
    lr = s["lr"] * s["pretraining_factor"]
    given = rates(list(situation.stages), lr, s["layer_decay"], head=lr)
    del given["head"]  # nothing reads labels yet
    given["*"] = lr
    target = _phase(
        "target texts",
        given,
        s["pretraining_epochs"],
        s,
        objective="pretraining",
        average=None,
        patience=None,
        validate_every=None,
        keep="last",
    )
    return Strategy("ulmfit", (target, *_unfreezing(situation, s)), "random")


def _one_phase(name: str, stages: Sequence[str], situation: Situation, s: dict[str, Any]) -> Phase:
    given = rates(stages, s["lr"], s["layer_decay"], s["lr"] * s["head_factor"])
    return _phase(name, given, epochs_for(situation.samples, s), s)


def make_strategy(name: str, situation: Situation) -> Strategy:
    """The strategy of that name for a situation.

    Raises
    ------
    ConfigError
        Unknown name, or options that the situation cannot meet.
    """
    return get("strategy", name).build(situation)
