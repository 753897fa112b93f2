"""Trees in safetensors: what goes in comes out, and nothing can be executed."""

from __future__ import annotations

import datetime
import json
import math
import pickletools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from headstart.core.errors import StoreError
from headstart.store.tensors import load_tree, save_tree

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    seed = draw(st.integers(0, 1000))
    values = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed))
    made = values.to(draw(st.sampled_from(TYPES)))
    return made.T if made.dim() == 2 and draw(st.booleans()) else made


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=["Cs"])), tensors()
)
keys = st.one_of(st.integers(-5, 5), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
trees = st.recursive(
    leaves, lambda t: st.one_of(st.lists(t, max_size=4), st.dictionaries(keys, t, max_size=4)), max_leaves=12
)


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


@given(trees)
@settings(max_examples=150, deadline=None)
def test_round_trip(tree: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.safetensors"
        save_tree(path, tree)
        assert same(tree, load_tree(path))


def test_tied_and_clashing_tensors(tmp_path: Path) -> None:
    """Tensors that share memory, and keys that look like paths, come back as they were."""
    shared = torch.arange(6.0)
    tree = {"a": {"b": shared, "b'": -shared}, "a/b": shared[:3], 0: torch.ones(2), "0": torch.zeros(2), "c": [shared]}
    save_tree(tmp_path / "t", tree)
    assert same(tree, load_tree(tmp_path / "t"))


@pytest.mark.parametrize(
    "value", [np.float32(1.0), np.arange(3), {1, 2}, b"bytes", datetime.date(2020, 1, 1), object()]
)
def test_other_types_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match="/deep/0 holds a"):
        save_tree(tmp_path / "t", {"deep": [value]})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled(tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tree(path, {"optimizer": {"state": {0: {"step": torch.ones(())}}}, "names": ["a"]})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    end = max(v["data_offsets"][1] for k, v in header.items() if k != "__metadata__")
    assert 8 + length + end == len(content)
    with pytest.raises(ValueError):
        list(pickletools.genops(content))


def test_missing_damaged_and_newer_files(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no file"):
        load_tree(tmp_path / "none")
    path = tmp_path / "t"
    save_tree(path, {"x": torch.randn(100)})
    content = path.read_bytes()
    for cut in (0, 5, 40, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(StoreError, match="damaged"):
            load_tree(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "99", "tree": "{}"})
    with pytest.raises(StoreError, match="newer Headstart"):
        load_tree(path)
    for metadata in (None, {"format": "pt"}, {"format": "1"}, {"format": "1", "tree": "{"}):
        save_file({"x": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(StoreError, match="damaged"):
            load_tree(path)


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t"
    save_tree(path, {"step": 1})
    with pytest.raises(TypeError):
        save_tree(path, {"step": object()})
    assert load_tree(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


def test_tensors_that_share_memory_are_written_each(tmp_path: Path) -> None:
    x = torch.arange(12.0).view(3, 4)
    tree = {"x": x, "same": x, "row": x[1], "turned": x.T, "none": x[:0]}
    save_tree(tmp_path / "t.safetensors", tree)
    assert same(tree, load_tree(tmp_path / "t.safetensors"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_a_disk_that_refuses_says_so_and_leaves_what_was_there(tmp_path: Path) -> None:
    """A process whose files may have 10,000 bytes: what it cannot write must not take the place of what is there."""
    path = tmp_path / "t.safetensors"
    save_tree(path, {"x": torch.ones(3)})
    code = f"""
import resource, signal, torch
from pathlib import Path
from headstart.core.errors import StoreError
from headstart.store.tensors import save_tree
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_tree(Path({str(path)!r}), {{"x": torch.zeros(10_000)}})
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Cannot write" in done.stdout
    assert "File too large" in done.stdout
    assert same({"x": torch.ones(3)}, load_tree(path))
    assert [f.name for f in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_saving_takes_no_memory(tmp_path: Path) -> None:
    """Checkpoints hold the weights several times over; on the way to the disk they are not copied."""
    code = f"""
import torch
from pathlib import Path
from headstart.store.tensors import save_tree
def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024
tree = {{"a": torch.ones(30, 1_000_000), "b": [torch.ones(30, 1_000_000)]}}
save_tree(Path({str(tmp_path / "small")!r}), {{"a": tree["a"][0]}})
before = peak()
save_tree(Path({str(tmp_path / "t")!r}), tree)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40  # of 240 MB
