"""Whatever a program leaves in a scratch directory can be written there, seen and removed."""

import contextlib
import os
from pathlib import Path

import pytest

from sandbox.inside import files


@pytest.mark.parametrize("text", ["", "a\r\nb", "\0", "\ud800", "\ud800\udfff", "é\U0010ffff"])
def test_any_text_is_written_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f"
    files.write(str(path), "something longer that was there before")
    files.write(str(path), text)
    assert path.read_bytes().decode("utf-8", "surrogatepass") == text


def leave(directory: Path) -> None:
    """Files, links, a fifo, names of any bytes, closed directories with content."""
    (directory / "file").write_text("x")
    (directory / "file").chmod(0)
    (directory / "to_directory").symlink_to(directory)
    (directory / "to_nothing").symlink_to("nowhere")
    os.mkfifo(directory / "fifo")
    Path(os.fsdecode(os.fsencode(directory) + b"/\xff\n")).touch()
    Path(directory, "closed", "inner").mkdir(parents=True)
    Path(directory, "closed", "inner", "file").touch()
    Path(directory, "closed", "inner").chmod(0)
    Path(directory, "closed").chmod(0)


def test_clear_leaves_nothing(tmp_path: Path) -> None:
    leave(tmp_path)
    files.clear(os.fsencode(tmp_path))
    assert files.is_empty(str(tmp_path))


def test_clear_has_no_limit_of_depth(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        for _ in range(3000):
            Path("d" * 9).mkdir()
            os.chdir("d" * 9)
        Path("file").touch()
    files.clear(os.fsencode(tmp_path))
    assert files.is_empty(str(tmp_path))


@pytest.mark.parametrize("names", [[".trash-1"], [f".trash-{n}" for n in range(50)]])
def test_clear_is_not_stopped_by_the_names_it_uses(tmp_path: Path, names: list[str]) -> None:
    for name in ["a", *names, "b"]:
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").touch()
    files.clear(os.fsencode(tmp_path))
    assert files.is_empty(str(tmp_path))


def test_clear_follows_no_link(tmp_path: Path) -> None:
    kept, scratch = tmp_path / "kept", tmp_path / "scratch"
    kept.mkdir()
    scratch.mkdir()
    (kept / "file").touch()
    (kept / "file").chmod(0o640)
    (scratch / "link").symlink_to(kept)
    (scratch / "file").symlink_to(kept / "file")
    assert files.clear_shallow(str(scratch))
    (scratch / "inner").mkdir()
    (scratch / "inner" / "link").symlink_to(kept)
    files.clear(os.fsencode(scratch))
    assert files.is_empty(str(scratch))
    assert [p.name for p in kept.iterdir()] == ["file"]
    assert (kept / "file").stat().st_mode & 0o777 == 0o640


def test_clear_keeps_the_directory_and_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    (tmp_path / "d").mkdir()
    files.clear(os.fsencode(tmp_path))
    assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_clear_shallow_says_what_it_left(tmp_path: Path) -> None:
    assert files.clear_shallow(str(tmp_path))
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "to_nothing").symlink_to("nowhere")
    assert not files.is_empty(str(tmp_path))
    assert files.clear_shallow(str(tmp_path))
    assert files.is_empty(str(tmp_path))
    (tmp_path / "full" / "inner").mkdir(parents=True)
    assert not files.clear_shallow(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
