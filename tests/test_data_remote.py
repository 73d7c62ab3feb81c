"""Logs behind URLs, from a real S3 server process, and from a local file system."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forethought.data import open_log, write_log
from forethought.data.remote import fetch
from forethought.errors import DataError
from forethought.testing.reader import check_same
from forethought.types import BoxSpace, Episode, ExperienceSpec, Sensor, SensorKind

pytestmark = pytest.mark.filterwarnings("ignore")  # of boto, flask and their friends
SPEC = ExperienceSpec((Sensor("place", SensorKind.VECTOR, (2,), "float32"),), BoxSpace((-1.0,), (1.0,)))


def episodes(count: int) -> Iterator[Episode]:
    for index in range(count):
        generator = np.random.default_rng(index)
        place = generator.normal(size=(9, 2)).astype(np.float32)
        yield Episode(f"e{index}", {"place": place}, generator.uniform(-1, 1, (8, 1)).astype(np.float32))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORETHOUGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_url_is_copied_once_and_again_when_it_changes(tmp_path: Path, cache: Path) -> None:
    log = write_log(tmp_path / "log.h5", episodes(2), SPEC)
    first = fetch(f"file://{log}")
    assert first.read_bytes() == log.read_bytes()
    assert fetch(f"file://{log}") == first
    write_log(log, episodes(3), SPEC, overwrite=True)
    assert len(open_log(f"file://{log}")) == 3
    assert len(list(cache.iterdir())) == 2


def test_the_oldest_copies_make_room(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [write_log(tmp_path / f"{name}.h5", episodes(2), SPEC) for name in "abc"]
    monkeypatch.setenv("FORETHOUGHT_CACHE_GIB", str(1.5 * logs[0].stat().st_size / 2**30))
    for age, log in enumerate(logs):
        os.utime(fetch(f"file://{log}").parent, (age, age))
    assert [path.name for path in cache.rglob("*.h5")] == ["c.h5"]


def test_what_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="check the URL"):
        open_log(f"file://{tmp_path}/missing.h5")
    with pytest.raises(DataError, match="cannot be reached"):
        open_log("nosuchstore://bucket/log.h5")


@pytest.mark.lane
def test_file_and_folder_out_of_a_real_s3_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs, server = pytest.importorskip("s3fs"), pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("logs")
        file = write_log(tmp_path / "log.h5", episodes(3), SPEC)
        folder = tmp_path / "folder"
        folder.mkdir()
        write_log(folder / "log.npz", episodes(3), SPEC)
        store.put_file(str(file), "logs/log.h5")
        store.put_file(str(folder / "log.npz"), "logs/deep/log.npz")
        for url in ("s3://logs/log.h5", Path("s3://logs/log.h5"), "s3://logs/deep/log.npz"):
            read = open_log(url)
            for one, other in zip(read, episodes(3), strict=True):
                check_same(one, other)
        store.put_file(str(write_log(tmp_path / "more.h5", episodes(5), SPEC)), "logs/log.h5")
        store.invalidate_cache()
        assert len(open_log("s3://logs/log.h5")) == 5
        with pytest.raises(DataError, match="is not there"):
            open_log("s3://logs/missing.h5")
    finally:
        running.stop()
