"""Family advice as data: what every strategy does by default for a CNN, a Transformer and an RNN, and says who.

`headstart methods --family rnn` prints this table. A strategy may differ from it in what its registration names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HERE = "measured here, docs/strategies.md"


@dataclass(frozen=True)
class Default:
    """One option's default.

    Attributes
    ----------
    option
        Its name, as `Situation.settings` has it.
    values
        Family (or "any") -> value.
    source
        Where the value comes from.
    why
        What it is for.
    """

    option: str
    values: Mapping[str, Any]
    source: str
    why: str

    def value(self, family: str) -> Any:
        """The default for a family."""
        return self.values.get(family, self.values.get("any"))


DEFAULTS: tuple[Default, ...] = (
    Default(
        "lr",
        {"cnn": 1e-3, "transformer": 2e-4, "rnn": 4e-3},
        "CNN: "
        + HERE
        + "; Transformer: Mosbach et al. 2021 (arXiv 2006.04884) scaled up for small networks, "
        + HERE
        + "; RNN: Howard & Ruder 2018 (arXiv 1801.06146), section 4.1",
        "rate of the last stage, for AdamW with bias correction",
    ),
    Default(
        "layer_decay",
        {"cnn": 0.85, "transformer": 0.9, "rnn": 1 / 2.6},
        "CNN: " + HERE + "; Transformer: between .75 of BEiT (arXiv 2106.08254) for deep networks and 1; "
        "RNN: Howard & Ruder 2018, section 3.2",
        "factor of the rate from a stage to the one before",
    ),
    Default(
        "batch_size",
        {"any": 32, "transformer": 16},
        "Masters & Luschi 2018 (arXiv 1804.07612): 32 or less; Transformer: Mosbach et al. 2021",
        "samples in a step",
    ),
    Default(
        "schedule",
        {"any": "cosine"},
        "Loshchilov & Hutter 2017 (arXiv 1608.03983)",
        "how the rate falls",
    ),
    Default(
        "warmup",
        {"any": 0.1},
        "Mosbach et al. 2021; Howard & Ruder 2018 (cut fraction .1)",
        "share of the steps in which the rate rises",
    ),
    Default("weight_decay", {"any": 0.01}, "Loshchilov & Hutter 2019 (arXiv 1711.05101)", "spares norms and biases"),
    Default("clip", {"any": 1.0}, "Pascanu et al. 2013 (arXiv 1211.5063); Devlin et al. 2019", "largest gradient norm"),
    Default("bn", {"any": "freeze"}, HERE, "statistics of a small data set estimate badly"),
    Default("ema", {"any": 0.99}, "Polyak & Juditsky 1992; " + HERE, "decay of the average of the weights"),
    Default(
        "label_smoothing",
        {"any": 0.0, "transformer": 0.1},
        "Szegedy et al. 2016 (arXiv 1512.00567); Transformer on texts: " + HERE,
        "share of the target spread over all classes",
    ),
    Default(
        "steps",
        {"any": 240, "transformer": 640},
        "Zhang et al. 2021 (arXiv 2006.05987), Mosbach et al. 2021: few samples need more steps, not fewer; " + HERE,
        "how long training lasts, within the bounds of epochs",
    ),
    Default("most_epochs", {"any": 60}, HERE, "bound of the length"),
    Default(
        "least_epochs", {"any": 3, "cnn": 5}, "Devlin et al. 2019 (arXiv 1810.04805); " + HERE, "bound of the length"
    ),
    Default(
        "spare",
        {"any": 0.0},
        HERE,
        "leading stages with at most this share of the parameters stay frozen (`lp-ft` of a CNN: 3%)",
    ),
    Default(
        "reinit",
        {"any": 0},
        "Zhang et al. 2021 (arXiv 2006.05987), section 5: 1 to 6 top layers help BERT on few samples",
        "top stages that start at random (`--reinit`)",
    ),
)


def common() -> dict[str, dict[str, Any]]:
    """The table as a registration takes it: family (or "any") -> option -> value."""
    made: dict[str, dict[str, Any]] = {"any": {}, "cnn": {}, "transformer": {}, "rnn": {}}
    for default in DEFAULTS:
        for family, value in default.values.items():
            made[family][default.option] = value
    return made
