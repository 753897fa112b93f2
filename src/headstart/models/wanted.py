"""What a run asks of a network before it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from headstart.core.errors import ConfigError, did_you_mean
from headstart.data.schema import Modality

POOLINGS = ("auto", "cls", "mean", "max", "last", "concat", "attention")
LONG = ("truncate", "windows")
VOCABULARIES = ("auto", "keep", "extend", "rebuild")

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Wanted:
    """What a run asks of a network.

    Attributes
    ----------
    size
        Pictures: side of the input in pixels. Texts: most tokens (special ones included) that enter at once. Series:
        unused. None is the network's own.
    channels
        Of pictures (grey ones are repeated, other numbers adapt the first convolution) or of series.
    seed
        For random weights.
    arch
        Architecture of a `file:` reference, a timm name; or "key=value,..." for an own architecture.
    modality
        What the data are.
    pooling
        How positions become one vector, one of `POOLINGS` ("auto": the network's own way; pictures: always).
    long
        What to do with texts of more than `size` tokens: one of `LONG`.
    mean, std
        Of the channels of series, measured on the training part.
    corpus
        Gives the training texts, for networks that bring no vocabulary of their own.
    vocabulary
        Of a pretrained network that reads words, one of `VOCABULARIES`: its own ("keep"), its own and the frequent
        words of the corpus ("extend"; "auto"), or the words of the corpus alone ("rebuild").
    """

    size: int | None = None
    channels: int = 3
    seed: int = 0
    arch: str | None = None
    modality: Modality = "image"
    pooling: str = "auto"
    long: str = "truncate"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    corpus: Callable[[], Iterable[Text]] | None = None
    vocabulary: str = "auto"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("pooling", self.pooling, POOLINGS),
            ("long", self.long, LONG),
            ("vocabulary", self.vocabulary, VOCABULARIES),
        ):
            if value not in known:
                raise ConfigError(f"{name} cannot be {value!r}.", did_you_mean(value, known))
