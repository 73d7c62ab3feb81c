"""Typed configuration: frozen dataclasses in, JSON out, and back with errors that name the field.

What a field may hold stands in its annotation: `updates: Count` is a whole number of at least 1.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, final

from forethought.errors import ConfigError, UsageError, unknown_name

ConfigT = TypeVar("ConfigT")


class Rule(Protocol):
    """What a field's annotation may demand beyond its type."""

    def problem(self, value: Any) -> str:
        """What is wrong with a value of the right type, and what was expected; empty if nothing is."""


@final
@dataclass(frozen=True)
class Between:
    """A finite number from `low` to `high`, both allowed; `above=True`: more than `low`."""

    low: float
    high: float = math.inf
    above: bool = False

    def problem(self, value: Any) -> str:
        fits = (value > self.low if self.above else value >= self.low) and value <= self.high
        if fits and math.isfinite(value):
            return ""
        least = f"more than {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"got {value!r}, expected a number of {least}" + (f" and at most {self.high:g}" if self.high < math.inf else "")


@final
@dataclass(frozen=True)
class OneOf:
    """One of the registered names."""

    kind: str
    known: Iterable[str]

    def problem(self, value: Any) -> str:
        return "" if value in list(self.known) else str(unknown_name(self.kind, value, self.known))


@final
@dataclass(frozen=True)
class Version:
    """A version that this program reads."""

    newest: int

    def problem(self, value: Any) -> str:
        if 1 <= value <= self.newest:
            return ""
        return f"got version {value}, this program reads 1 to {self.newest}; install the Forethought that wrote it"


Count = Annotated[int, Between(1)]
Whole = Annotated[int, Between(0)]
Positive = Annotated[float, Between(0, above=True)]
Weight = Annotated[float, Between(0)]
Share = Annotated[float, Between(0, 1)]


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


def read_json(kind: type[ConfigT], path: Path) -> ConfigT:
    """`from_json` of a file, which every error names. Raises ConfigError, for a file that cannot be read too."""
    try:
        return from_json(kind, path.read_text(encoding="utf-8"))
    except (ConfigError, UsageError) as error:
        raise ConfigError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); give a JSON file") from None


def checked(config: ConfigT) -> ConfigT:
    """The same configuration, if all that its annotations demand holds. Raises ConfigError.

    A configuration made in Python passes through the same door as one from a file.
    """
    return from_json(type(config), to_json(config))


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
    if origin is Annotated:
        return _ruled(_build(arguments[0], data, where), arguments[1:], where)
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _build(next(a for a in arguments if a is not type(None)), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ConfigError(f"{where}: got {data!r}, expected a list")
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) != len(data):
            raise ConfigError(f"{where}: got {len(data)} values, expected {len(inner)}")
        return tuple(_build(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(inner, data, strict=True)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if data not in [member.value for member in kind]:
            raise ConfigError(f"{where}: {unknown_name(kind.__name__, str(data), [str(m.value) for m in kind])}")
        return kind(data)
    return _scalar(kind, data, where)


def _ruled(value: Any, rules: Iterable[Rule], where: str) -> Any:
    for rule in rules:
        if problem := rule.problem(value):
            raise ConfigError(f"{where}: {problem}")
    return value


def _build_dataclass(kind: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: got {type(data).__name__}, expected an object with fields")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in data:
        if name not in fields:
            raise ConfigError(f"{where}: {unknown_name('field', name, fields)}")
    hints = typing.get_type_hints(kind, include_extras=True)
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
