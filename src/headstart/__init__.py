"""Headstart: transfer learning and fine-tuning with evidence.

>>> import headstart as hs
>>> hs.__version__
'0.1.0'

Importing this package is cheap: PyTorch is imported when a verb is first used.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from headstart.core.errors import HeadstartError

if TYPE_CHECKING:
    from headstart.data import Dataset, load_data
    from headstart.models import Backbone
    from headstart.verbs import (
        Run,
        adapt,
        check,
        compare,
        evaluate,
        export,
        fit,
        predict,
        pretrain,
        rank,
        report,
        resume,
        shift,
    )

__version__ = "0.1.0"

_where = {
    "Dataset": "headstart.data",
    "load_data": "headstart.data",
    "Backbone": "headstart.models",
    "Run": "headstart.verbs",
    "adapt": "headstart.verbs",
    "check": "headstart.verbs",
    "compare": "headstart.verbs",
    "evaluate": "headstart.verbs",
    "export": "headstart.verbs",
    "fit": "headstart.verbs",
    "predict": "headstart.verbs",
    "pretrain": "headstart.verbs",
    "rank": "headstart.verbs",
    "report": "headstart.verbs",
    "resume": "headstart.verbs",
    "shift": "headstart.verbs",
}

__all__ = [
    "Backbone",
    "Dataset",
    "HeadstartError",
    "Run",
    "adapt",
    "check",
    "compare",
    "evaluate",
    "export",
    "fit",
    "load_data",
    "predict",
    "pretrain",
    "rank",
    "report",
    "resume",
    "shift",
]


class _Package(types.ModuleType):
    """A package whose verbs win over the rooms of the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing anything of the room `report` would bind the room to this name; the verb is what users mean.
        if not (name in _where and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _where:
        return getattr(importlib.import_module(_where[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute {name!r}")
