"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from headstart.core.registry import register
from headstart.features.engines.engine import Engine, EngineError
from headstart.features.engines.graph import to_onnx
from headstart.models.backbone import State
from headstart.train.precision import format_name


@register(
    "engine",
    "onnxruntime",
    summary="ONNX Runtime on the processor, in float32; extra [fast]",
    source="onnxruntime.ai, graph optimisations",
    needs={"onnxruntime"},
)
class OnnxRuntime(Engine):
    """The network exported to ONNX, in memory."""

    name = "onnxruntime"
    pays_from = 120.0  # exporting takes 20 s and half a gigabyte

    @classmethod
    def formats(cls, device: torch.device) -> tuple[torch.dtype, ...]:
        return (torch.float32,) if device.type == "cpu" else ()

    @classmethod
    def key(cls, dtype: torch.dtype, device: torch.device) -> str:
        return f"{cls.name} {version('onnxruntime')} on {device.type}, {format_name(dtype)}"

    def prepare(self, state: State) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        content = to_onnx(self.prefix, state).SerializeToString()
        try:
            self._session: Any = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base class of their own
            raise EngineError(f"ONNX Runtime cannot load it: {str(error).strip().splitlines()[0][:200]}") from error
        self._takes = [i.name for i in self._session.get_inputs()]

    def compute(self, state: State) -> Sequence[Tensor]:
        # What the network does not use was left out of the graph.
        given = {name: x.contiguous().numpy() for name, x in state.items() if name in self._takes}
        return [torch.from_numpy(x) for x in self._session.run(None, given)]
