"""TensorBoard files, one folder a stage, if the package is installed; by its own record writer, with no thread behind."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from forethought.errors import RunError


@final
class Board:
    """Figures of one stage into one new file. After a resume the lines beyond it are declared void, as TensorBoard expects."""

    def __init__(self, folder: Path, first_update: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self._write(file_version="brain.Event:2")
        if first_update:
            self._write(step=first_update + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, update: int, metrics: Mapping[str, float]) -> None:
        """One line of metrics."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._write(step=update, summary=Summary(value=values))

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                RecordWriter(file).write(Event(wall_time=time.time(), **fields).SerializeToString())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written ({error.strerror}); free space and go on") from None


def board_for(folder: Path, first_update: int) -> Board | None:
    """A board in that folder, or nothing where TensorBoard is not installed (the extra is 'tensorboard')."""
    return Board(folder, first_update) if importlib.util.find_spec("tensorboard") else None
