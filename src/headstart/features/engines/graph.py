"""From a module to a graph that other engines run: ONNX and OpenVINO, any batch size, any length of texts."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart.features.engines.engine import EngineError, first_line
from headstart.models.backbone import State

if TYPE_CHECKING:
    import onnx


def to_onnx(module: nn.Module, state: State, outputs: Sequence[str] = ()) -> onnx.ModelProto:
    """Export a module of positional tensors; inputs are named by the state's keys.

    Raises
    ------
    EngineError
        When PyTorch's exporter cannot follow the network.
    """
    lengthy = "mask" in state
    shapes = tuple(_dynamic(x, lengthy) for x in state.values())
    try:
        with quiet(logging.ERROR):
            program = torch.onnx.export(
                module.eval(),
                tuple(state.values()),
                input_names=list(state),
                output_names=list(outputs) or None,
                dynamo=True,
                dynamic_shapes=(shapes,),
                verbose=False,
            )
    except Exception as error:  # the exporter's errors share no base class
        raise EngineError(f"PyTorch cannot export it: {first_line(error)}") from error
    assert program is not None
    return program.model_proto


def to_openvino(module: nn.Module, state: State, outputs: Sequence[str] = ()) -> Any:
    """Convert a module of positional tensors by OpenVINO's own front end.

    By its parts: `openvino.convert_model` then simplifies the graph, which takes several times as long as converting
    and is done again when the graph is compiled.

    Raises
    ------
    EngineError
        When it cannot.
    """
    import openvino as ov
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    try:
        with quiet(logging.ERROR), torch.no_grad():
            # Two rows say as much as a batch: its size is left open below.
            example = tuple(x[:2] for x in state.values())
            frontend = FrontEndManager().load_by_framework("pytorch")
            # Held by a name: the front end does not keep it alive while it converts.
            traced = TorchScriptPythonDecoder(_traced(module.eval(), example), example_input=example)
            model = frontend.convert(frontend.load(traced))
            lengthy = "mask" in state
            model.reshape({i: ov.PartialShape(_openvino_shape(x, lengthy)) for i, x in enumerate(state.values())})
            for port, name in zip(model.inputs, state, strict=True):
                port.get_tensor().set_names({name})
            for port, name in zip(model.outputs, outputs, strict=False):
                port.get_tensor().set_names({name})
    except Exception as error:  # its front end raises whatever tracing raises
        raise EngineError(f"OpenVINO cannot convert it: {first_line(error)}") from error
    return model


def _traced(module: nn.Module, example: tuple[torch.Tensor, ...]) -> Any:
    """As a function whose weights are constants, unchecked.

    By itself OpenVINO traces a second time to compare, and reads thousands of attributes of a traced module one by one.
    The choice of an engine compares features, which says more.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    for p in trained:  # what requires a gradient cannot be a constant
        p.requires_grad_(False)
    try:
        return torch.jit.trace(lambda *tensors: module(*tensors), example, check_trace=False)
    finally:
        for p in trained:
            p.requires_grad_(True)


def _dynamic(x: torch.Tensor, lengthy: bool) -> dict[int, Any]:
    """The batch varies; so do the tokens of texts and the time steps of series."""
    dim = torch.export.Dim.DYNAMIC
    return {0: dim, 1: dim} if lengthy else {0: dim}


def _openvino_shape(x: torch.Tensor, lengthy: bool) -> list[int]:
    return [-1, -1, *x.shape[2:]] if lengthy else [-1, *x.shape[1:]]


@contextmanager
def quiet(level: int) -> Iterator[None]:
    """Within the block exporters keep their remarks to themselves."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)
