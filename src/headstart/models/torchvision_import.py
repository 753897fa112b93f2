"""Makes `import torchvision` work beside a CPU-only torch.

PyPI's torchvision wheel is built against CUDA. Beside a CPU build of torch its extension does not load, and
importing the package fails because the schema of `torchvision::nms` is missing. Declaring the schemas is enough
for models and transforms; the operators themselves stay absent. Nothing is declared where the extension loads.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

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
    """Declare the schemas of `nms` and `qnms` where torchvision's extension cannot load; safe to call twice."""
    global _library
    if _library is not None or _extension_loads():
        return
    # A fragment: a full definition of the namespace by anybody else would otherwise clash.
    _library = torch.library.Library("torchvision", "FRAGMENT")
    _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
