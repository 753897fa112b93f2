"""From a module to a graph that other engines run: ONNX and OpenVINO, any batch size, any length of texts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headstart.features.engines.engine import EngineError
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
    shapes = tuple(_dynamic(x) for x in state.values())
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
        raise EngineError(f"PyTorch cannot export it: {_first_line(error)}") from error
    assert program is not None
    return program.model_proto


def to_openvino(module: nn.Module, state: State) -> Any:
    """Convert a module of positional tensors by OpenVINO's own front end.

    Raises
    ------
    EngineError
        When it cannot.
    """
    import openvino as ov

    try:
        with quiet(logging.ERROR), torch.no_grad():
            model = ov.convert_model(module.eval(), example_input=tuple(state.values()))
            model.reshape({i: ov.PartialShape(_openvino_shape(x)) for i, x in enumerate(state.values())})
    except Exception as error:  # its front end raises whatever tracing raises
        raise EngineError(f"OpenVINO cannot convert it: {_first_line(error)}") from error
    return model


def _dynamic(x: torch.Tensor) -> dict[int, Any]:
    """The batch varies; so does the length of texts, whose tensors have two dimensions."""
    dim = torch.export.Dim.DYNAMIC
    return {0: dim, 1: dim} if x.dim() == 2 else {0: dim}


def _openvino_shape(x: torch.Tensor) -> list[int]:
    return [-1, -1] if x.dim() == 2 else [-1, *x.shape[1:]]


@contextmanager
def quiet(level: int) -> Iterator[None]:
    """Within the block exporters keep their remarks to themselves."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
