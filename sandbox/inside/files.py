"""Files in scratch directories: written whatever the text holds, removed however deep they nest."""

from __future__ import annotations

import contextlib
import os


def write(path: str, text: str) -> None:
    """A lone surrogate or a null character is the program's business, not a reason to fail here."""
    with open(path, "wb") as file:
        file.write(text.encode("utf-8", "surrogatepass"))


def is_empty(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def clear_shallow(directory: str) -> bool:
    """Remove files and empty directories; False when something is left for `clear`."""
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    os.rmdir(entry.path)
                else:
                    os.unlink(entry.path)
    return is_empty(directory)


def clear(directory: bytes) -> None:
    """Empty ``directory``. Never recurses: each subdirectory is first moved to the top level.

    However deep a program nests directories and whatever modes it gives them, every path used here
    is short. What belongs to somebody else is left alone, and so is the mode of ``directory``.
    """
    moved, prefix = 0, b".trash-%s-" % os.urandom(8).hex().encode()
    pending = [directory]
    while pending:
        current = pending.pop()
        with contextlib.suppress(OSError):
            with os.scandir(current) as entries:
                found = list(entries)
            for entry in found:
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    moved += 1
                    target = os.path.join(directory, prefix + b"%d" % moved)
                    os.rename(entry.path, target)
                    pending.append(target)
            if current != directory:
                os.rmdir(current)
