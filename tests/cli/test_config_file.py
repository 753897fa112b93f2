"""`--config`: what a file may say, and how its mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.cli.config_file import read_config
from headstart.core.errors import ConfigError
from headstart.store.runfolder import as_yaml

KNOWN = ("epochs", "image_size", "label", "lr")


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_options_are_read_with_either_spelling(tmp_path: Path) -> None:
    path = write(tmp_path, "image-size: 96\nlabel: größe\nepochs: null\n")
    assert read_config(path, KNOWN) == {"image_size": 96, "label": "größe"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_config(write(tmp_path, text), KNOWN) == {}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, "\ufeffepochs: 3\n"), KNOWN) == {"epochs": 3}


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("epochs: 3\nepoch: 4\n", "line 2: unknown option 'epoch'", "'epochs'"),
        ("epochs: 3\nlr: 1\nepochs: 4\n", "line 3: 'epochs' stands there already in line 1", "Keep one"),
        ("image-size: 3\nimage_size: 4\n", "line 2: 'image_size' stands there already in line 1", "Keep one"),
        ("epochs: 3\nlr: [1, 2\n", "line 3, is not YAML", "name: value"),
        ("epochs: 3\n\tlr: 1\n", "line 2, is not YAML", "name: value"),
        ("- epochs\n", "is not a list of options", "name: value"),
        ("epochs", "is not a list of options", "name: value"),
        ("lr: !!python/object/apply:os.getcwd []\n", "is not YAML", "name: value"),
    ],
)
def test_a_mistake_names_its_line(tmp_path: Path, text: str, what: str, hint: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_config(write(tmp_path, text), KNOWN)
    assert what in error.value.what
    assert "run.yaml" in error.value.what
    assert hint in error.value.hint


def test_a_missing_file_a_folder_and_bytes_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"label: \xff\xfe\n")
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "bytes.yaml"):
        with pytest.raises(ConfigError, match=path.name):
            read_config(path, KNOWN)


@settings(deadline=None, max_examples=50)
@example({"label": "a\x85b"})
@given(
    st.dictionaries(
        st.sampled_from(KNOWN),
        st.one_of(st.integers(), st.booleans(), st.text(), st.lists(st.text(), max_size=3)),
    )
)
def test_what_yaml_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, content: dict) -> None:
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(as_yaml(content), encoding="utf-8")
    assert read_config(path, KNOWN) == content


def test_the_command_line_beats_the_file(headstart, tmp_path: Path) -> None:
    # Both values are wrong; once the first is typed anew, the second is the one that is left.
    write(tmp_path, "data: nowhere\nepochs: 0\ntask: guess\n")
    assert "'task' cannot be 'guess'" in headstart("fit", "--config", "run.yaml").stderr
    typed = headstart("fit", "--config", "run.yaml", "--task", "regression")
    assert "'epochs' cannot be 0" in typed.stderr


def test_texts_are_taken_as_they_are_written(tmp_path: Path) -> None:
    text = (
        "guard: off\nwindow: 128\nlabel: yes\nlabels: [1, no, 1.10]\ntime: 2026-01-31\ntest: ~\nblend: off\nepochs: 3\n"
    )
    known = ["guard", "window", "label", "labels", "time", "test", "blend", "epochs"]
    assert read_config(write(tmp_path, text), known, known[:6]) == {
        "guard": "off",
        "window": "128",
        "label": "yes",
        "labels": ["1", "no", "1.10"],
        "time": "2026-01-31",
        "blend": False,
        "epochs": 3,
    }


def test_a_file_says_what_the_command_line_says(tmp_path: Path) -> None:
    from headstart.cli.fit import _from_file
    from headstart.verbs.options import make_options

    text = "guard: off\nwindow: 128\nimage-size: 96\nlr: 0.001\nbudget: 90\nbatch_size: 8\nlabels: a, b\n"
    text += "seed: 2\nema: off\n"
    options = make_options(_from_file(write(tmp_path, text)))
    assert (options.guard, options.window, options.image_size, options.lr) == ("off", "128", 96, 0.001)
    assert (options.budget, options.batch_size, options.labels) == (90, 8, ("a", "b"))
    assert (options.seed, options.ema) == (2, False)


def test_a_file_for_adapt_may_name_columns_and_folders_like_numbers(headstart, tmp_path: Path) -> None:
    write(tmp_path, "source: 2024\ntarget: 2025\nlabel: yes\n")
    said = headstart("adapt", "--config", "run.yaml").stderr
    assert "2024" in said
    assert "must be a text" not in said
    assert "no folder" in said or "There is no" in said
