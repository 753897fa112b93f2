"""`--config FILE.yaml`: options out of a file. What is typed on the command line beats it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import yaml


def read_config(path: Path, known: Collection[str], texts: Collection[str] = ()) -> dict[str, Any]:
    """Read options from a YAML file.

    Parameters
    ----------
    path
        A mapping from option names to values; `image-size` and `image_size` are the same.
    known
        The names that there are, with _ for -.
    texts
        Those whose values are texts. They are taken as they are written, as from the command line: YAML makes a
        number of 128 and False of off.

    Returns
    -------
    dict
        Names with _ for -. A null is left out: it means the default.

    Raises
    ------
    ConfigError
        For a file that cannot be read, YAML that is broken (with its line), a key that is unknown (with near
        keys) or that stands there twice.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"There is no configuration file {path}.", "Check the path after --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "It must be a YAML file in UTF-8.") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path}{_line(error)} is not YAML: {_problem(error)}.", "One option a line: `name: value`."
        ) from None
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} is not a list of options.", "One option a line: `name: value`.")
    first: dict[str, int] = {}
    written: dict[str, yaml.Node] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value).replace("-", "_")
        if name not in known:
            raise ConfigError(f"{path}, line {line}: unknown option {key.value!r}.", did_you_mean(name, known))
        if name in first:
            raise ConfigError(
                f"{path}, line {line}: {key.value!r} stands there already in line {first[name]}.",
                "Keep one of the two.",
            )
        first[name], written[name] = line, value
    found = {str(k).replace("-", "_"): v for k, v in content.items() if v is not None}
    return {name: _as_written(written[name], v) if name in texts else v for name, v in found.items()}


def _as_written(node: yaml.Node, value: Any) -> Any:
    """A text, or a list of texts; anything else as YAML understands it."""
    if isinstance(node.value, str):
        return node.value
    if isinstance(value, list) and all(isinstance(item.value, str) for item in node.value):
        return [item.value for item in node.value]
    return value


def _line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}," if mark is not None else ""


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or str(error).splitlines()[0])
