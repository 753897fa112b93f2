"""Makes `import torchvision` work beside a CPU-only torch, and `import torchvision` and `import timm` quick.

PyPI's torchvision wheel is built against CUDA. Beside a CPU build of torch its extension does not load, and
importing the package fails because the schema of `torchvision::nms` is missing. Declaring the schemas is enough
for models and transforms; the operators themselves stay absent. Nothing is declared where the extension loads.

Importing either loads torch's compiler, 1.4 of their 2.5 seconds: torchvision for one function that its `roi_align`
asks when it runs, timm to mark one method as not to be compiled. Stand-ins ask the compiler when they are called.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_library: torch.library.Library | None = None


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    found = list(Path(spec.submodule_search_locations[0]).glob("_C*.so")) + list(
        Path(spec.submodule_search_locations[0]).glob("_C*.pyd")
    )
    if not found:
        return False
    try:
        torch.ops.load_library(str(found[0]))
    except OSError:
        return False
    return True


def prepare_torchvision() -> None:
    """Import torchvision, its operators declared where its extension cannot load; safe to call twice."""
    global _library
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    if _library is None and not _extension_loads():
        _library = _declared()
    with _compiler_left_out(), contextlib.suppress(ImportError, RuntimeError):
        importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """The module `timm`."""
    if "timm" not in sys.modules:
        prepare_torchvision()
        with _compiler_left_out():
            importlib.import_module("timm")
    return sys.modules["timm"]


def _declared() -> torch.library.Library:
    # A fragment: a full definition of the namespace by anybody else would otherwise clash.
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))


def _disabled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which torch's compiler is told to leave alone once it is called."""
    told: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if not told:
            told.append(torch.compiler.disable(function))
        return told[0](*args, **options)

    return call


@contextlib.contextmanager
def _compiler_left_out() -> Iterator[None]:
    """Both stand-ins in place, unless the compiler is there."""
    name, disable = "torch._dynamo.utils", torch.compiler.disable
    if name in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.is_compile_supported = _compile_supported  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    torch.compiler.disable = _disabled  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
