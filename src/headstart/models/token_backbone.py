"""What every backbone that reads tokens shares: tokens, windows, padding, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from headstart.core.errors import ModelError
from headstart.data.schema import Sample
from headstart.models.backbone import Backbone, State
from headstart.models.pooling import AttentionPooling, pool_positions
from headstart.models.tokens import Tokenizer

MOST_WINDOWS = 16
"""Windows that a long text is read in at most."""

TOKENS_PER_BATCH = 4096
_ABSENT = -1


class TokenBackbone(Backbone):
    """Texts (or pairs) in, one vector per text out.

    A settled sample is an int32 array: (W, L) token numbers of its windows, or (2, W, L) numbers and sides of pairs;
    -1 fills up shorter windows. An integer array given as a sample (chunks of a corpus) is taken as tokens.
    A batch has a row per window: `ids` (R, L) long, `mask` (R, L) bool, `types` (R, L) for pairs, and `rows` (R,),
    the sample of each row, where a text has several.
    """

    by_length = True
    length_multiple = 8
    tokenizer: Tokenizer
    pooling: AttentionPooling | None
    directions = 1
    """Halves of the last dimension that read the text from different ends (2: bidirectional)."""

    settles_together = True

    def settle(self, sample: Sample) -> Sample:
        if isinstance(sample.inputs, np.ndarray):
            return replace(sample, inputs=np.atleast_2d(sample.inputs).astype(np.int32))
        return self._tokenized([sample])[0]

    def settle_all(self, samples: Sequence[Sample]) -> list[Sample]:
        if any(isinstance(sample.inputs, np.ndarray) for sample in samples):
            return [self.settle(sample) for sample in samples]
        return self._tokenized(samples)

    def _tokenized(self, samples: Sequence[Sample]) -> list[Sample]:
        spec = self.input_spec
        most = MOST_WINDOWS if spec.long == "windows" else 1
        made = []
        found = self.tokenizer.windows_of([sample.inputs for sample in samples], spec.size, most)
        for sample, (windows, sides) in zip(samples, found, strict=True):
            array = _stacked(windows)
            made.append(replace(sample, inputs=array if sides is None else np.stack([array, _stacked(sides)])))
        return made

    def preprocess(self, sample: Sample, view: str, seed: int) -> State:
        array = torch.from_numpy(sample.inputs).long()
        if array.dim() == 2:
            return {"ids": array}
        return {"ids": array[0], "types": array[1].clamp(min=0)}

    def collate(self, states: list[State]) -> State:
        counts = torch.tensor([len(s["ids"]) for s in states])
        longest = max(s["ids"].shape[1] for s in states)
        width = min(-(-longest // self.length_multiple) * self.length_multiple, max(self.input_spec.size, longest))
        ids = torch.cat([_padded(s["ids"], width, _ABSENT) for s in states])
        mask = ids != _ABSENT
        batch = {"ids": ids.masked_fill(~mask, self.tokenizer.special.pad or 0), "mask": mask}
        if any("types" in s for s in states):
            batch["types"] = torch.cat([_padded(s.get("types", torch.zeros_like(s["ids"])), width, 0) for s in states])
        if int(counts.max()) > 1:
            batch["rows"] = torch.repeat_interleave(torch.arange(len(states)), counts)
        return batch

    def length(self, sample: Sample) -> int:
        return int(sample.inputs.shape[-1] * sample.inputs.shape[-2])

    def batch_size(self) -> int:
        return max(8, min(128, TOKENS_PER_BATCH // max(1, self.input_spec.size) // 8 * 8))

    def pool(self, s: State, grid: int = 1) -> Tensor:
        if grid != 1:
            raise ModelError("Only pictures can be pooled to a grid.", "Use grid 1.")
        if "pooled" in s:
            return mean_of_rows(s["pooled"], s)
        how = self.input_spec.pooling
        rows = pool_positions(s["x"], s["mask"], "mean" if how == "attention" else how, self.directions)
        return mean_of_rows(rows, s)

    def attend(self, s: State) -> State:
        """The stage "pooling": adds the learnt mean."""
        assert self.pooling is not None
        return {**s, "pooled": self.pooling(s["x"], s["mask"])}

    def files(self) -> dict[str, bytes]:
        return self.tokenizer.files()


def mean_of_rows(x: Tensor, s: State) -> Tensor:
    """(R, D) -> (B, D): the mean over the windows of each text."""
    if "rows" not in s:
        return x
    rows = s["rows"]
    count = int(rows[-1]) + 1
    sums = torch.zeros(count, x.shape[1], dtype=x.dtype, device=x.device).index_add(0, rows, x)
    return sums / torch.bincount(rows, minlength=count).to(x.dtype)[:, None]


def _stacked(windows: list[list[int]]) -> np.ndarray:
    array = np.full((len(windows), max(map(len, windows), default=0)), _ABSENT, np.int32)
    for row, window in zip(array, windows, strict=True):
        row[: len(window)] = window
    return array


def _padded(x: Tensor, width: int, value: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, width - x.shape[1]), value=value)
