"""Folders that travel arrive as they were, once."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest
from cluster_parts import Nodes
from hypothesis import given, settings
from hypothesis import strategies as st

from srs.cluster import parcels
from srs.cluster.parcels import KEPT_HERE, KEPT_THERE, Outbox, read, unpack, write

CONTENT = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}(/[A-Z]{1,3}){0,2}", fullmatch=True),
    st.binary(max_size=40),
    max_size=5,
)


def fill(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@settings(max_examples=40, deadline=None)
@given(CONTENT.filter(lambda c: not any(f"{a}/" in f"{b}/" for a in c for b in c if a != b)))
def test_a_folder_arrives_as_it_was(content: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parcels, "CHUNK_BYTES", 7)
        folder, target = fill(Path(scratch) / "from", content), Path(scratch) / "to"
        folder.mkdir(exist_ok=True)
        target.mkdir()
        chunks = list(read(folder))
        assert all(len(data) <= 7 for _, data in chunks)
        write(chunks, target)
        assert content_of(target) == content


@pytest.mark.usefixtures("nodes")
def test_parcels_are_told_by_content(tmp_path: Path) -> None:
    outbox = Outbox()
    one = fill(tmp_path / "one", {"a": b"1", "b/c": b""})
    same = fill(tmp_path / "same", {"a": b"1", "b/c": b""})
    other = fill(tmp_path / "other", {"a": b"1", "b/d": b""})
    first = outbox.parcel(one)
    assert outbox.parcel(one) is first
    assert outbox.parcel(same).digest == first.digest
    assert outbox.parcel(other).digest != first.digest
    fill(one, {"a": b"2"})
    os.utime(one / "a", ns=(1, 1))
    assert outbox.parcel(one).digest != first.digest, "an adapter that was written anew"
    assert len(outbox._made) == KEPT_HERE


def test_many_actors_of_a_host_fetch_one_copy(nodes: Nodes, tmp_path: Path) -> None:
    assert nodes.living
    outbox, shelf = Outbox(), tmp_path / "shelf"
    content = {"weights": bytes(range(256)) * 100, "config.json": b"{}"}
    parcel = outbox.parcel(fill(tmp_path / "adapter", content))
    arrived: list[Path] = []
    threads = [
        threading.Thread(target=lambda: arrived.append(unpack(parcel, shelf))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(arrived) == {shelf / parcel.digest}
    assert len(arrived) == 6
    assert content_of(shelf / parcel.digest) == content
    assert [path.name for path in shelf.iterdir()] == [parcel.digest]
    for number in range(KEPT_THERE + 2):
        newest = outbox.parcel(fill(tmp_path / f"{number:04d}", {"weights": b"%d" % number}))
        os.utime(unpack(newest, shelf), (number, number))
    assert len(list(shelf.iterdir())) == KEPT_THERE
    assert (shelf / newest.digest).is_dir()
