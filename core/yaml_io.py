"""YAML as people mean it: `1e-5` is a number, duplicate keys are faults, aliases are capped.

PyYAML follows YAML 1.1, where `1e-5` is a string and `no` is False. The loader here keeps
`true`/`false` as booleans, leaves `yes/no/on/off` as the words they are, and reads `1e-5`.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from keepgain.core.errors import UserError

MAX_BYTES = 1_000_000
MAX_ALIASES = 50
MAX_DEPTH = 40
MAX_NODES = 200_000
"""Values in all, those that an alias repeats counted each time."""

_PLAIN = {f"tag:yaml.org,2002:{n}" for n in ("map", "seq", "str", "bool", "int", "float", "null")}


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars."""


_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")
_Loader.yaml_implicit_resolvers = {}
_RESOLVERS: list[tuple[str, re.Pattern[str], list[str | None]]] = [
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
]
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Reads one mapping from a file.

    Returns:
        The mapping, and the line number (from 1) of every dotted key.

    Raises:
        UserError: No such file, not UTF-8, not YAML, not one mapping, a duplicate key, a tag that
            builds objects, or nesting and aliases beyond the caps.
    """
    return parse_yaml(_read_text(path), str(path))


def load_yaml_list(path: Path) -> tuple[list[Any], dict[str, int]]:
    """As `load_yaml`, for a file that is one list; its keys begin with the index, from 0."""
    text, source = _read_text(path), str(path)
    data, lines = _parse(text, source, yaml.SequenceNode, "a list (`- learning_rate: ...`)")
    return list(data), lines


def parse_yaml(text: str, source: str) -> tuple[dict[str, Any], dict[str, int]]:
    """As `load_yaml`, from text; `source` names it in messages."""
    data, lines = _parse(text, source, yaml.MappingNode, "a mapping of keys to values")
    return dict(data), lines


def _parse(
    text: str, source: str, root: type[yaml.Node], described: str
) -> tuple[Any, dict[str, int]]:
    if text.count("&") and len(re.findall(r"(?:^|[\s\[{,:-])\*\w", text)) > MAX_ALIASES:
        raise UserError(f"more than {MAX_ALIASES} aliases.", where=source, hint="Write them out.")
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise _syntax_error(error, source) from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise UserError("the file is empty.", where=source, hint="`sweep init` writes one.")
        if not isinstance(node, root):
            raise UserError(f"the file must be {described}.", where=source)
        lines: dict[str, int] = {}
        _walk(node, "", lines, source, depth=0, left=[MAX_NODES])
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except (ValueError, KeyError) as error:
        # `!!int x`, or a number of more digits than Python reads.
        said = str(error).partition(";")[0]
        raise UserError(f"a value cannot be read ({said}).", where=source) from None
    except RecursionError:
        raise UserError("nested too deeply.", where=source) from None
    finally:
        loader.dispose()
    return data, lines


def _read_text(path: Path) -> str:
    if not path.exists():
        raise UserError("no such file.", where=str(path), hint="`sweep init` writes one.")
    if not path.is_file():
        raise UserError("not a regular file.", where=str(path))
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"larger than {MAX_BYTES} bytes.", where=str(path))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 at byte {error.start}.", where=str(path)) from None
    except PermissionError:
        raise UserError("permission denied.", where=str(path)) from None


def _walk(
    node: yaml.Node, prefix: str, lines: dict[str, int], source: str, depth: int, left: list[int]
) -> None:
    """Records the line of each key and refuses what a mapping would silently swallow.

    Args:
        left: One number: values that may still come. It walks as often as aliases repeat a value,
            so that a few lines cannot stand for billions.
    """
    if depth > MAX_DEPTH:
        raise UserError(f"nested more than {MAX_DEPTH} levels deep.", where=source)
    left[0] -= 1
    if left[0] < 0:
        raise UserError(f"more than {MAX_NODES} values, aliases counted.", where=source)
    if node.tag not in _PLAIN:
        line = node.start_mark.line + 1
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise UserError(
            f"not readable as YAML: the tag {tag} is not allowed.", where=f"{source}:{line}"
        )
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError("a key must be plain text.", where=f"{source}:{line}")
            name = str(key.value)
            dotted = f"{prefix}{name}"
            if name in seen:
                raise UserError(
                    f"key '{name}' is given twice (again on line {line}).",
                    where=f"{source}:{dotted}",
                    hint="Keep one of them.",
                )
            seen.add(name)
            lines[dotted] = line
            _walk(value, f"{dotted}.", lines, source, depth + 1, left)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{prefix}{index}"] = value.start_mark.line + 1
            _walk(value, f"{prefix}{index}.", lines, source, depth + 1, left)


def _syntax_error(error: yaml.YAMLError, source: str) -> UserError:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}:{mark.line + 1}" if mark is not None else source
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    hint = "Use spaces, not tabs." if "'\\t'" in str(problem) else None
    return UserError(f"not readable as YAML: {problem}.", where=where, hint=hint)
