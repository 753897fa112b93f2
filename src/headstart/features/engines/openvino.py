"""OpenVINO: Intel's inference engine, for any x86-64 or ARM processor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.features.engines.engine import Engine, EngineError
from headstart.features.engines.graph import quiet, to_openvino
from headstart.models.backbone import State
from headstart.train.precision import choose_precision, format_name

LEAST_ROWS = 8
"""Rows of a batch of texts or series that a stream gets at least."""

PIXELS = 80_000
"""Pixels that a stream computes at once: more leave the processor's cache between layers, fewer keep it waiting for
calls. On EfficientNet-Lite0 in float32 at 64, 96, 160 and 224 px, 16, 8, 4 and 2 pictures were the fastest."""


@register(
    "engine",
    "openvino",
    summary="OpenVINO on the processor, in the number format that it finds fastest there; extra [fast]",
    source="docs.openvino.ai, CPU device",
    needs={"openvino"},
)
class OpenVino(Engine):
    """The network converted by OpenVINO's own front end."""

    name = "openvino"
    pays_from = 3.0  # trying it takes about a second, and CNNs and Transformers ran 1.2 to 2.7 times as fast in it
    begins = True

    @classmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        if device.type != "cpu":
            return ()
        return tuple(dict.fromkeys((choose_precision("auto", device), torch.float32)))

    @classmethod
    def key(cls, dtype: torch.dtype, device: torch.device) -> str:
        return f"{cls.name} {version('openvino')} on {device.type}, {format_name(dtype)}"

    def prepare(self, state: State) -> None:
        import openvino as ov

        model = to_openvino(self.prefix, state)
        self._rows = rows_at_once(state, self.dtype)
        core = ov.Core()
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}[
                self.dtype
            ],
        }
        try:
            with quiet(logging.WARNING):
                if self._rows:  # a graph of one shape throughout: a tenth faster than one that takes any number
                    model.reshape({0: [self._rows, *state["x"].shape[1:]]})
                self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile it: {str(error).strip().splitlines()[-1][:200]}") from error
        self._streams = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests: list[Any] = []

    def compute(self, state: State) -> Sequence[Tensor]:
        """A batch in small parts, all handed over at once: no stream waits for another, nor for Python."""
        inputs = [np.ascontiguousarray(x.numpy()) for x in state.values()]
        count = len(inputs[0])
        parts = self._parts(count)
        self._requests += [self._compiled.create_infer_request() for _ in range(len(parts) - len(self._requests))]
        running = self._requests[: len(parts)]
        # Not copied, so held here until all have been read.
        fed = [[_padded(x[rows], self._rows) for x in inputs] for rows in parts]
        for request, arrays in zip(running, fed, strict=True):
            request.start_async(arrays, share_inputs=True)
        for request in running:
            request.wait()
        made = []
        for place in range(len(self.places)):
            rows_of_parts = [request.get_output_tensor(place).data for request in running]
            made.append(torch.from_numpy(np.concatenate(rows_of_parts)[:count]))
        return made

    def _parts(self, count: int) -> list[slice]:
        if self._rows:
            return [slice(first, first + self._rows) for first in range(0, count, self._rows)]
        parts = max(1, min(self._streams, count // LEAST_ROWS))
        edges = np.linspace(0, count, parts + 1).round().astype(int).tolist()
        return [slice(first, last) for first, last in pairwise(edges)]


def rows_at_once(state: State, dtype: torch.dtype) -> int:
    """Pictures that a stream computes at once, a power of two; 0 for texts and series, whose lengths vary."""
    if set(state) != {"x"} or state["x"].ndim != 4:
        return 0
    height, width = state["x"].shape[2:]
    fit = PIXELS / (height * width) * (1 if dtype == torch.float32 else 2)
    return int(2 ** np.clip(np.round(np.log2(fit)), 0, 5))


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    """With rows of zeros up to that many, for a graph that takes no fewer."""
    lacking = rows - len(x)
    return x if lacking <= 0 else np.concatenate([x, np.zeros((lacking, *x.shape[1:]), x.dtype)])
