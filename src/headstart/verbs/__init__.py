"""The verbs: the Python API, and what the command line calls. Imported one by one, when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.verbs.estimate import estimate
    from headstart.verbs.evaluate import evaluate
    from headstart.verbs.fit import fit, resume
    from headstart.verbs.predict import predict
    from headstart.verbs.report import report
    from headstart.verbs.run import Interrupted, Run

_WHERE = {
    "Interrupted": "run",
    "Run": "run",
    "estimate": "estimate",
    "evaluate": "evaluate",
    "fit": "fit",
    "predict": "predict",
    "report": "report",
    "resume": "fit",
}

__all__ = ["Interrupted", "Run", "estimate", "evaluate", "fit", "predict", "report", "resume"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'headstart.verbs' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"headstart.verbs.{_WHERE[name]}"), name)
    # Importing the submodule `fit` binds the module to this name; the verb is what callers mean.
    globals()[name] = found
    return found
