"""A real headless Chromium, driven through chromedriver by the WebDriver protocol."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# https://www.w3.org/TR/webdriver2/#keyboard-actions
BACKSPACE, ENTER, ESCAPE = "\ue003", "\ue007", "\ue00c"
LEFT, RIGHT, DOWN = "\ue012", "\ue014", "\ue015"
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--allow-file-access-from-files",
)


class Browser:
    """One window of Chromium; a context manager.

    Args:
        width: of the window, in pixels.
        height: of the window.
        dark: whether the user prefers dark colors.
    """

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        assert CHROMIUM is not None
        assert DRIVER is not None
        self._driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout is not None
        ports = (re.search(r"successfully on port (\d+)", line) for line in self._driver.stdout)
        port = next(match[1] for match in ports if match)
        self._url = f"http://127.0.0.1:{port}/session"
        arguments = [*_ARGUMENTS, f"--window-size={width},{height}"]
        arguments += ["--force-dark-mode"] if dark else []
        options = {"binary": CHROMIUM, "args": arguments}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        try:
            answer = self._call("post", "", {"capabilities": {"alwaysMatch": capabilities}})
            self._url += f"/{answer['sessionId']}"
            media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            self.devtools("Emulation.setEmulatedMedia", features=media)
        except BaseException:
            self._driver.kill()
            self._driver.communicate()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._call("delete", "")
        self._driver.terminate()
        self._driver.communicate()

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = {} if body is None and method == "post" else body
        answer = requests.request(method, self._url + path, json=data, timeout=120)
        value = answer.json()["value"]
        if not answer.ok:
            raise OSError(value["message"])
        return value

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self._call("post", "/url", {"url": page.absolute().as_uri()})

    def run(self, script: str) -> Any:
        """Run the body of a JavaScript function; gives what it returns."""
        return self._call("post", "/execute/sync", {"script": script, "args": []})

    def devtools(self, command: str, **parameters: object) -> Any:
        """Send a command of Chromium's DevTools protocol."""
        return self._call("post", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        self._call("post", "/actions", {"actions": actions})

    def console(self) -> list[str]:
        """What the console shows since the last call: errors, warnings, refused requests."""
        return [entry["message"] for entry in self._call("post", "/se/log", {"type": "browser"})]

    def screenshot(self, file: Path) -> None:
        """Save what the window shows as PNG."""
        file.write_bytes(base64.b64decode(self._call("get", "/screenshot")))
