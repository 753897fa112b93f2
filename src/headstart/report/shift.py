"""shift.html: what `headstart shift` measured, as a page that opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.report.figures.palette import styles
from headstart.report.figures.scatter import domain_map
from headstart.report.formats import count, number
from headstart.report.pictures import Album
from headstart.report.render import whole_page
from headstart.report.sections.adaptation import shift_section
from headstart.report.sections.section import Section


def shift_page(found: Mapping[str, Any], places: np.ndarray, domains: Sequence[str]) -> str:
    """The page.

    Parameters
    ----------
    found
        What `headstart.shift` returned.
    places, domains
        (n, 2) samples on two axes, and which domain each is of.
    """
    n = found["samples"]
    head = {
        "name": f"{found['source']} → {found['target']}",
        "sentence": f"{count(n['source'])} labelled and {count(n['target'])} further samples, seen by {found['model']} "
        f"at {found['stage']}. No network was trained, and no label of the target was read.",
        "status": "",
        "fallback": "",
        "score": {
            "value": number(found["distances"]["discriminator"]["auc"], 3),
            "interval": "",
            "title": "AUC of a discriminator of the domains",
            "meaning": "0.5: the domains look the same; 1: every sample shows where it comes from.",
            "part": None,
            "n": None,
            "better": "Lower is nearer.",
        },
        "verdict": None,
        "facts": [("Shift", found["verdict"]), ("Network", found["model"]), ("Stage", found["stage"])],
        "created": "",
    }
    looks = styles(2)
    sides = [0 if d == "source" else 1 for d in domains]
    values = {
        "domains": domain_map(places, sides, looks, "domains"),
        "legend": [("source", *looks[0]), ("target", *looks[1])],
        "n": len(places),
        "classes": None,
    }
    sections = [
        shift_section(found["text"], [found["distances"]], found["classes"], found["class_names"], found["shares"]),
        Section("maps", "Both domains in one map", "adaptation_maps.html", values),
    ]
    return whole_page(Album(Path()), head, sections, [])
