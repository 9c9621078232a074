"""A real Chromium, driven through its debugging pipe: pages are opened, clicked and filled in."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def found() -> str:
    """The browser's path; skips without one, fails in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((p for name in names if (p := shutil.which(name))), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium here, and CI must check the sheet in one")
        pytest.skip("no Chromium here to open the sheet in")
    return path


class Browser:
    """Speaks the DevTools protocol over two pipes: JSON messages that end with a NUL."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._n = 0
        self._rest = b""
        self.session: str | None = None

    def call(self, method: str, **params: Any) -> Any:
        self._n += 1
        message: dict[str, Any] = {"id": self._n, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._n:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url: str) -> None:
        """A new page, loaded."""
        self.session = None
        target = self.call("Target.createTarget", url=url)["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        shown = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        self.wait(lambda: bool(self.run(shown)))

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    @staticmethod
    def wait(until: Callable[[], bool], limit_s: float = 30.0) -> None:
        end = time.monotonic() + limit_s
        while not until():
            assert time.monotonic() < end, "the browser took too long"
            time.sleep(0.05)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._back, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@contextlib.contextmanager
def browsing(path: str, downloads: Path) -> Iterator[Browser]:
    """A headless browser whose downloads land in a folder."""
    here_in, there_out = os.pipe()
    there_in, here_out = os.pipe()

    def pipes() -> None:
        """Where the browser looks for them: it reads from descriptor 3 and writes to 4."""
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (there_in, there_out)]
        for place, end in enumerate(ends, 3):
            os.dup2(end, place)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                path,
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update",
                "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank",
            ],
            pass_fds=(3, 4),
            preexec_fn=pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(there_in)
        os.close(there_out)
        browser = Browser(here_out, here_in)
        try:
            browser.call(
                "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads)
            )
            yield browser
        finally:
            process.kill()
            process.wait()
            os.close(here_in)
            os.close(here_out)
