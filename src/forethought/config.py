"""Typed configuration: frozen dataclasses in, JSON out, and back with errors that name the field."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from typing import Any, TypeVar

from forethought.errors import ConfigError, unknown_name

ConfigT = TypeVar("ConfigT")


def to_json(config: Any) -> str:
    """Any (nested) frozen dataclass as indented JSON, keys in declaration order."""
    return json.dumps(_plain(config), indent=2) + "\n"


def from_json(kind: type[ConfigT], text: str) -> ConfigT:
    """The inverse of `to_json`. Raises ConfigError naming the field, the value and what was expected."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"not JSON (line {error.lineno}, column {error.colno}: {error.msg}); restore the file or start a new run"
        ) from None
    built = _build(kind, data, kind.__name__)
    return typing.cast(ConfigT, built)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _build(kind: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(typing.cast(type, kind), data, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _build(next(a for a in arguments if a is not type(None)), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ConfigError(f"{where}: got {data!r}, expected a list")
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(_build(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(inner, data, strict=True)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if data not in [member.value for member in kind]:
            raise ConfigError(f"{where}: {unknown_name(kind.__name__, str(data), [str(m.value) for m in kind])}")
        return kind(data)
    return _scalar(kind, data, where)


def _build_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: got {type(data).__name__}, expected an object with fields")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in data:
        if name not in fields:
            raise ConfigError(f"{where}: {unknown_name('field', name, fields)}")
    hints = typing.get_type_hints(kind)
    values = {name: _build(hints[name], item, f"{where}.{name}") for name, item in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}; add the missing field") from None


def _scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise ConfigError(f"{where}: got {data!r} ({type(data).__name__}), expected {kind.__name__}")
    return data
