"""RLDS datasets as TFDS prepares them: `features.json`, `dataset_info.json` and TFRecord shards, one record an episode.

Layout: TFDS's "format-specific dataset builders" page and RLDS's README. In RLDS a step's action is the one taken after its
observation, and that of the last step has no meaning: T + 1 steps are T actions.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import final

import numpy as np

from forethought.data.experience import Experience
from forethought.data.extras import optional
from forethought.data.formats.raw import Steps, sensor_for, space_for, to_episode
from forethought.data.formats.tfds import Feature, episode_features, find_episodes, step_features
from forethought.data.formats.tfrecord import Record, decode, parse_example, read_record
from forethought.data.schema import check_spec, explain
from forethought.errors import DataError, MissingExtra
from forethought.types import Array, Episode, ExperienceSpec

_LAST = "the action and reward of each episode's last step: RLDS gives them no meaning"
_FLAGS = ("is_first", "is_last")  # every episode's first and last row
_LOOK = 16  # rows by which a sensor's kind is decided
_MOST_PIXELS = 2**26
_MODES = ("L", "LA", "RGB", "RGBA", "I;16")  # Pillow's names for pixels that are numbers, not places in a palette


@final
class RldsReader:
    """Reads RLDS datasets in TFDS folders (the folder of one version)."""

    name = "rlds"

    def detect(self, path: Path) -> bool:
        """A folder with TFDS's two descriptions."""
        return all((path / name).is_file() for name in ("features.json", "dataset_info.json"))

    def open(self, path: Path) -> Experience:
        """Open the dataset."""
        return RldsExperience(path)


@final
class RldsExperience(Experience):
    """Episodes of all splits. `steps/observation/*` are sensors, `steps/language_instruction` tasks, other numbers metadata."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        features = step_features(path)
        self._sensors = {_short(key): feature for key, feature in features.items() if _is_sensor(feature)}
        self._actions = [feature for key, feature in sorted(features.items()) if key.split("/")[0] == "action"]
        self._actions = [feature for feature in self._actions if feature.is_numeric and not feature.image]
        if not self._actions:
            raise DataError("got no 'steps/action' of numbers; is this an RLDS dataset?", path / "features.json")
        self._language = next((key for key in sorted(features) if key.endswith("language_instruction")), "")
        self._reward, self._terminal = (_number(features.get(key)) for key in ("reward", "is_terminal"))
        taken = {*(feature.key for feature in (*self._sensors.values(), *self._actions)), self._language, *_FLAGS}
        rest = {key: feature for key, feature in features.items() if key not in taken | {"reward", "is_terminal"}}
        self._metadata = {key.replace("/", "."): feature for key, feature in rest.items() if feature.is_numeric}
        others = sorted(key for key, feature in rest.items() if not feature.is_numeric)
        self.dropped = (_LAST, *(f"'steps/{key}'" for key in others), *episode_features(path))
        self._episodes = list(find_episodes(path))
        self._look_through()

    def _look_through(self) -> None:
        """The spec, from every episode's actions and texts."""
        if not self._episodes:
            raise DataError("got no episodes, expected one record each; see docs/data.md", self.path / "dataset_info.json")
        actions, texts = [], []
        for _, record in self._episodes:
            reader = _Reader(record)
            actions.append(reader.joined(self._actions))
            texts.append(reader.text(self._language))
        first = _Reader(self._episodes[0][1])
        samples = {name: first.rows(feature, len(actions[0]), _LOOK) for name, feature in self._sensors.items()}
        sensors = (sensor_for(name, rows, self.path) for name, rows in samples.items())
        self._lengths = tuple(max(0, len(part) - 1) for part in actions)
        self._tasks = tuple(sorted(set(texts))) if all(texts) else ()
        self._texts = texts
        space = space_for((part[:-1] for part in actions), self.path, "steps/action")
        named = tuple(sensor for sensor in sensors if sensor is not None)
        self.spec = check_spec(ExperienceSpec(named, space, self._reward is not None, tasks=self._tasks), self.path)

    def __len__(self) -> int:
        return len(self._episodes)

    def ids(self) -> tuple[str, ...]:
        return tuple(id for id, _ in self._episodes)

    def lengths(self) -> tuple[int, ...]:
        return self._lengths

    def episode(self, index: int) -> Episode:
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        id, record = self._episodes[index]
        reader = _Reader(record)
        actions = reader.joined(self._actions)
        rows = len(actions)
        steps = Steps(
            {name: reader.rows(feature, rows) for name, feature in self._sensors.items()},
            actions,
            reader.rows(self._reward, rows) if self._reward else None,
            None,
            {name: reader.rows(feature, rows) for name, feature in self._metadata.items()},
            {"task_index": self._tasks.index(self._texts[index])} if self._tasks else {},
            bool(self._terminal and reader.rows(self._terminal, rows)[-1].any()),
        )
        return to_episode(id, steps, self.spec, record.path, record.place)


class _Reader:
    """One record's features as arrays."""

    def __init__(self, record: Record) -> None:
        self._record = record
        try:
            self._features = parse_example(read_record(record))
        except ValueError as error:
            raise self._error(f"is no tf.train.Example ({explain(error)}); copy the file again") from None

    def joined(self, features: list[Feature]) -> Array:
        """Features side by side: (steps, ...) of one, (steps, n) of many."""
        parts = [self.rows(feature) for feature in features]
        if len(parts) == 1:
            return parts[0]
        if len({len(part) for part in parts}) > 1:
            raise self._error("the parts of 'steps/action' differ in length")
        return np.concatenate([part.reshape(len(part), math.prod(part.shape[1:])) for part in parts], axis=1)

    def rows(self, feature: Feature, rows: int | None = None, most: int | None = None) -> Array:
        """A feature's rows, the first `most` of them; it must have `rows`. Raises DataError."""
        values = self._values(feature.key)
        size = 1 if feature.image else math.prod(feature.shape)
        fits = len(values) and len(values) % size == 0 and rows in (None, len(values) // size)
        if not fits or feature.image != isinstance(values, list):
            wanted = f"{rows} steps" if rows is not None else "whole steps"
            raise self._error(f"'steps/{feature.key}' has {len(values)} values, expected {wanted} of shape {feature.shape}")
        if isinstance(values, list):
            return self._images(values[:most], feature)
        with np.errstate(all="ignore"):  # the file may declare a dtype that its numbers do not fit
            return values.reshape(-1, *feature.shape)[:most].astype(feature.dtype)

    def text(self, key: str) -> str:
        """The first step's text, "" if there is none."""
        values = self._values(key) if key and f"steps/{key}" in self._features else []
        return values[0].decode("utf-8", "replace") if isinstance(values, list) and values else ""

    def _values(self, key: str) -> list[bytes] | Array:
        if f"steps/{key}" not in self._features:
            raise self._error(f"has no 'steps/{key}', which features.json names")
        try:
            return decode(self._features[f"steps/{key}"])
        except ValueError as error:
            raise self._error(f"'steps/{key}' cannot be read ({explain(error)}); copy the file again") from None

    def _images(self, files: list[bytes], feature: Feature) -> Array:
        try:
            images = [_image(file) for file in files]
        except MissingExtra:
            raise
        except Exception as error:  # Pillow raises errors of many kinds on damaged images
            raise self._error(f"an image of 'steps/{feature.key}' cannot be read ({explain(error)})") from None
        if len({image.shape for image in images}) > 1:
            raise self._error(f"the images of 'steps/{feature.key}' differ in size; resize them")
        return np.stack(images)

    def _error(self, text: str) -> DataError:
        return DataError(text, self._record.path, self._record.place)


def _image(file: bytes) -> Array:
    """A PNG or JPEG as (height, width, channels). Raises errors of many kinds."""
    with optional("PIL.Image", "reading images in RLDS", "rlds").open(io.BytesIO(file), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels")
        if image.mode not in _MODES:
            raise ValueError(f"got pixels of mode {image.mode}, expected one of {', '.join(_MODES)}")
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _number(feature: Feature | None) -> Feature | None:
    return feature if feature and feature.is_numeric and not feature.image else None


def _is_sensor(feature: Feature) -> bool:
    return feature.key.split("/")[0] == "observation" and feature.is_numeric


def _short(key: str) -> str:
    return key.removeprefix("observation/").replace("/", ".")
