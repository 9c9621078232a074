"""Stands in for moxing: a folder, ``$FAKE_OBS``, is all of OBS."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path


def _local(url: str) -> Path:
    if url.startswith("obs://"):
        return Path(os.environ["FAKE_OBS"]) / url.removeprefix("obs://")
    return Path(url)


class file:
    """The functions of ``moxing.file`` that are used here, with its parameters."""

    @staticmethod
    def exists(url: str) -> bool:
        return _local(url).exists()

    @staticmethod
    def read(url: str, binary: bool = False) -> str | bytes:
        content = _local(url).read_bytes()
        return content if binary else content.decode()

    @staticmethod
    def write(url: str, content: str | bytes, binary: bool = False) -> None:
        target = _local(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(content, bytes) is binary
        partial = target.with_name(f".{target.name}.put")  # a PUT is seen whole or not at all
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())
        partial.replace(target)

    @staticmethod
    def copy_parallel(
        src_url: str,
        dst_url: str,
        file_list: Sequence[str] | None = None,
        threads: int = 16,
        is_processing: bool = True,
        use_queue: bool = True,
    ) -> None:
        assert threads
        assert use_queue
        assert not is_processing, "forks a process that has threads"
        source, target = _local(src_url), _local(dst_url)
        assert source.is_dir(), "moxing copies folders only"
        found = [path for path in sorted(source.rglob("*")) if path.is_file()]
        for name in file_list or [str(path.relative_to(source)) for path in found]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
