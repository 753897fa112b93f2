"""Engines: what runs the frozen part of a network. To add one, write a subclass of `Engine` and register it."""

from headstart.features.engines.choose import Candidate, Engines, check_engine
from headstart.features.engines.engine import Engine, EngineError
from headstart.features.engines.onnx_runtime import OnnxRuntime
from headstart.features.engines.openvino import OpenVino
from headstart.features.engines.prefix import Place
from headstart.features.engines.pytorch import Torch, TorchCompile

__all__ = [
    "Candidate", "Engine", "EngineError", "Engines", "OnnxRuntime", "OpenVino", "Place", "Torch", "TorchCompile",
    "check_engine",
]  # fmt: skip
