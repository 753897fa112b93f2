"""OpenVINO: Intel's inference engine, for any x86-64 or ARM processor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
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
"""Rows of a batch that a stream gets at least."""


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
    pays_from = 6.0
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
                compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile it: {str(error).strip().splitlines()[-1][:200]}") from error
        streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._requests: list[Any] = [compiled.create_infer_request() for _ in range(streams)]

    def compute(self, state: State) -> Sequence[Tensor]:
        """A batch in as many parts as there are streams: each on its own cores, which need not wait for each other."""
        inputs = [np.ascontiguousarray(x.numpy()) for x in state.values()]
        count = len(inputs[0])
        parts = max(1, min(len(self._requests), count // LEAST_ROWS))
        edges = np.linspace(0, count, parts + 1).round().astype(int)
        for request, first, last in zip(self._requests, edges, edges[1:], strict=False):
            request.start_async([x[first:last] for x in inputs], share_inputs=True)
        for request in self._requests[:parts]:
            request.wait()
        made = []
        for place in range(len(self.places)):
            rows = [request.get_output_tensor(place).data for request in self._requests[:parts]]
            made.append(torch.from_numpy(np.concatenate(rows)))
        return made
