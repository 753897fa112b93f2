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
            "PERFORMANCE_HINT": "LATENCY",
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
        self._request: Any = compiled.create_infer_request()
        self._outputs = len(self.places)

    def compute(self, state: State) -> Sequence[Tensor]:
        self._request.infer([np.ascontiguousarray(x.numpy()) for x in state.values()], share_inputs=True)
        return [torch.from_numpy(self._request.get_output_tensor(i).data.copy()) for i in range(self._outputs)]
