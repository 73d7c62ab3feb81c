"""Record your own robot or game: `step` copies into memory and returns; another process makes finished episodes durable."""

from __future__ import annotations

import atexit
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from forethought.config import from_json
from forethought.data.experience import as_path
from forethought.data.recorder_process import Reply, send
from forethought.data.schema import check_numbers, check_spec, safe_name, spec_to_json
from forethought.errors import DataError, UsageError, unknown_name
from forethought.types import Array, DiscreteSpace, ExperienceSpec

Clock = Callable[[], float]


@final
@dataclass
class _Open:
    """The episode under way: rows by key, and how much memory they take."""

    columns: dict[str, list[Array]] = field(default_factory=dict)
    size: int = 0
    steps: int = 0
    given_up: bool = False

    def whole_columns(self) -> dict[str, list[Array]]:
        """All but the metadata that some moment lacked, or had in another shape."""
        full = {
            key: rows for key, rows in self.columns.items() if not key.startswith("metadata/") or len(rows) == self.steps + 1
        }
        return {key: rows for key, rows in full.items() if len({(row.shape, row.dtype) for row in rows}) == 1}


@final
@dataclass(frozen=True)
class _Job:
    """An episode handed over."""

    id: str
    terminated: bool
    truncated: bool
    episode: _Open


@final
class Recorder:
    """Records steps as they happen; an episode is acknowledged (`saved`) once it would survive `kill -9` and a power cut.

    `step` and `end` only copy and queue, so a control loop never waits for the disk. Each episode is one commit, synced to
    the disk (HDF5: new bytes, then the journal; a folder of NPZ: the archive, then its name) before it counts as saved.
    At most `memory` bytes wait: when the disk is slower than the recording, the episode under way is given up whole and `end`
    says so; what was handed over before is kept. Timestamps are those of `clock` (seconds; None: no timestamps). A log of
    the same spec is gone on with. Raises DataError if the log cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        spec: ExperienceSpec,
        *,
        format: str | None = None,
        name: str = "episode",
        memory: int = 2**30,
        clock: Clock | None = time.monotonic,
    ) -> None:
        self.path, self.spec = as_path(path), check_spec(spec, as_path(path))
        self._name, self._memory, self._clock = name, memory, clock
        self._sensors = {sensor.name: sensor for sensor in spec.sensors}
        self._held: dict[str, tuple[Array, float | None]] = {}
        self._open = _Open()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._waiting, self._waiting_bytes = 0, 0
        self._error: DataError | None = None
        self.saved = 0
        self._process = _start([str(self.path), format or "", spec_to_json(spec)])
        self.saved = self._count = self._hear().saved
        self._complain(ended=True)
        self._thread = threading.Thread(target=self._hand_over, name="forethought recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def reading(self, sensor: str, value: ArrayLike, timestamp: float | None = None) -> None:
        """A new reading of a sensor with a rate of its own; held until the next. From any thread."""
        at = timestamp if timestamp is not None else self._now()
        self._held[sensor] = (self._checked(sensor, value), at)

    def step(
        self,
        observation: Mapping[str, ArrayLike],
        action: ArrayLike,
        *,
        reward: float = 0.0,
        quantities: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """What was seen, what was then done, and what that brought. Sensors not in `observation` are taken as held.

        `quantities` become metadata, those that every moment of the episode has. Raises UsageError for what does not fit.
        """
        row = self._row(observation, quantities)
        row["actions"] = self._action(action)
        if self.spec.has_reward:
            row["rewards"] = np.asarray(reward, np.float32)
        self._keep(row)
        self._open.steps += 1

    def end(
        self,
        observation: Mapping[str, ArrayLike],
        *,
        terminated: bool = False,
        quantities: Mapping[str, ArrayLike] | None = None,
        id: str | None = None,
    ) -> None:
        """The observation after the last action: hand the episode over and return at once.

        Raises DataError if this episode was given up, or if an earlier one could not be written: those before are kept.
        """
        if not self._open.steps:
            raise UsageError("got an end without a step before it; call step(observation, action) first")
        self._keep(self._row(observation, quantities))
        done, self._open = self._open, _Open()
        self._complain()
        if done.given_up:
            raise DataError(
                f"an episode of {done.steps} steps was given up: {self._waiting_bytes:,} bytes still wait for the disk, and "
                f"memory={self._memory:,} is the limit. Everything before it is kept; pause, record less, or allow more",
                self.path,
            )
        with self._changed:
            self._waiting, self._waiting_bytes = self._waiting + 1, self._waiting_bytes + done.size
        self._jobs.put(_Job(id or f"{self._name}-{self._count:06d}", terminated, not terminated, done))
        self._count += 1

    def wait(self) -> int:
        """Block until every episode handed over is safe. Returns how many the log holds. Raises DataError."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)
        self._complain()
        return self.saved

    def close(self) -> None:
        """Wait for what was handed over, and finish; an episode without an end is not written. Idempotent. Raises DataError."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        self._thread.join()
        atexit.unregister(self.close)
        self._complain()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _now(self) -> float | None:
        return self._clock() if self._clock is not None else None

    def _row(self, observation: Mapping[str, ArrayLike], quantities: Mapping[str, ArrayLike] | None) -> dict[str, Array]:
        """One moment, checked and copied: all of it or an error."""
        times: dict[str, float | None] = {"timestamp": self._now()}
        row: dict[str, Array] = {}
        for name, value in observation.items():
            row[f"observations/{name}"] = self._checked(name, value)
        for name in self._sensors.keys() - observation.keys():
            if name not in self._held:
                raise UsageError(f"got no '{name}' yet; pass it to step, or call reading('{name}', ...) before the first step")
            row[f"observations/{name}"], times[f"timestamp.{name}"] = self._held[name]
        row |= {f"metadata/{name}": np.asarray(at) for name, at in times.items() if at is not None}
        for name, value in (quantities or {}).items():
            row[f"metadata/{safe_name(name, self.path, 'quantities')}"] = check_numbers(np.array(value), self.path, name)
        return row

    def _keep(self, row: Mapping[str, Array]) -> None:
        """Add a moment to the episode under way, unless memory is full."""
        now = self._open
        now.size += sum(values.nbytes for values in row.values())
        if now.given_up or now.size + self._waiting_bytes > self._memory:
            now.given_up, now.columns = True, {}
            return
        for key, values in row.items():
            now.columns.setdefault(key, []).append(values)

    def _checked(self, name: str, value: ArrayLike) -> Array:
        sensor = self._sensors.get(name)
        if sensor is None:
            raise unknown_name("sensor", name, self._sensors)
        return _fitted(value, sensor.shape, np.dtype(sensor.dtype), f"sensor '{name}'")

    def _action(self, action: ArrayLike) -> Array:
        if isinstance(self.spec.action_space, DiscreteSpace):
            return _fitted(action, (), np.dtype(np.int64), "action")
        return _fitted(action, (self.spec.action_space.size,), np.dtype(np.float32), "action")

    def _hand_over(self) -> None:
        """The thread: sends one episode, waits until it is safe. All that takes long happens outside the interpreter's lock."""
        while (job := self._jobs.get()) is not None:
            if self._error is None:
                self.saved = self._sent(job)
            with self._changed:
                self._waiting, self._waiting_bytes = self._waiting - 1, self._waiting_bytes - job.episode.size
                self._changed.notify_all()
        self._end_process()

    def _sent(self, job: _Job) -> int:
        assert self._process.stdin is not None
        try:
            send(self._process.stdin.fileno(), job.id, job.terminated, job.truncated, job.episode.whole_columns())
        except BrokenPipeError:  # it says why in its last reply, or is dead
            pass
        except (OSError, ValueError) as error:
            self._error = DataError(f"an episode could not be handed over ({error}); those before it are kept", self.path)
            return self.saved
        return self._hear().saved

    def _complain(self, ended: bool = False) -> None:
        """Raise what the writer process said is wrong, if anything is."""
        if self._error is not None:
            if ended:
                self._end_process()
            raise self._error

    def _end_process(self) -> None:
        with self._process:  # closes its pipes and waits
            pass

    def _hear(self) -> Reply:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply = from_json(Reply, line.decode()) if line.endswith(b"\n") else Reply(self.saved, _DEAD)
        if reply.error:
            self._error = DataError(reply.error, self.path)
        return reply


_DEAD = "the process that writes it has ended; the episodes acknowledged so far are kept. Open a new Recorder to go on"


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "forethought.data.recorder_process", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0)


def _fitted(value: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> Array:
    """A copy in the spec's dtype, so that the loop may reuse its buffers."""
    array = np.asarray(value)
    if array.shape != shape or not np.can_cast(array.dtype, dtype, "same_kind"):
        got = f"shape {array.shape}, dtype {array.dtype}"
        raise UsageError(f"{what}: got {got}, expected {shape}, {dtype}; convert it, or correct the spec")
    return np.array(array, dtype=dtype, order="C")
