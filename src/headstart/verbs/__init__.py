"""The verbs: the Python API, and what the command line calls. Imported one by one, when first used."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.verbs.adapt import adapt
    from headstart.verbs.check import check
    from headstart.verbs.compare import compare
    from headstart.verbs.domain.estimate import estimate_adaptation
    from headstart.verbs.estimate import estimate
    from headstart.verbs.evaluate import evaluate
    from headstart.verbs.export import export
    from headstart.verbs.fit import fit, resume
    from headstart.verbs.predict import predict
    from headstart.verbs.pretrain import pretrain
    from headstart.verbs.rank import rank
    from headstart.verbs.report import report
    from headstart.verbs.run import Interrupted, Run
    from headstart.verbs.shift import shift

_WHERE = {
    "Interrupted": "run",
    "Run": "run",
    "adapt": "adapt",
    "check": "check",
    "compare": "compare",
    "estimate": "estimate",
    "estimate_adaptation": "domain.estimate",
    "evaluate": "evaluate",
    "export": "export",
    "fit": "fit",
    "predict": "predict",
    "pretrain": "pretrain",
    "rank": "rank",
    "report": "report",
    "resume": "fit",
    "shift": "shift",
}

__all__ = [
    "Interrupted",
    "Run",
    "adapt",
    "check",
    "compare",
    "estimate",
    "estimate_adaptation",
    "evaluate",
    "export",
    "fit",
    "predict",
    "pretrain",
    "rank",
    "report",
    "resume",
    "shift",
]


class _Verbs(types.ModuleType):
    """A package whose verbs win over the submodules of the same names."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Whoever imports the submodule `fit` first would bind the module to this name; the verb is what callers mean.
        if not (name in _WHERE and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Verbs


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'headstart.verbs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"headstart.verbs.{_WHERE[name]}"), name)
