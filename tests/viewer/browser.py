"""A headless Chromium, driven by its DevTools protocol over two pipes: pages, keys, the mouse, dropped files."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions "
    "--disable-background-networking --disable-component-update --disable-sync --mute-audio --hide-scrollbars "
    "--disable-features=Translate,MediaRouter --remote-debugging-pipe"
)
SECONDS = 20.0  # Tests fail if the browser takes longer for anything, beside other tests.


class Browser:
    """A browser with a profile of its own, which ends with the ``with`` block."""

    def __init__(self, profile: Path, seconds: float = SECONDS, flags: str = "") -> None:
        self.seconds = seconds  # for any answer
        to_child, self._write = os.pipe()
        self._read, from_child = os.pipe()
        command = f'exec "$0" {FLAGS} {flags} "--user-data-dir=$1" about:blank 3<&{to_child} 4>&{from_child}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, str(profile)], pass_fds=(to_child, from_child),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._numbers, self._rest, self.events = itertools.count(1), b"", []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._read)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.seconds
        while True:
            answer = self._next(until, method)
            if answer.get("id") != number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def _next(self, until: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], max(until - time.monotonic(), 0))[0]:
                raise TimeoutError(f"no answer to {method} in {self.seconds:g} s")
            self._rest += os.read(self._read, 2**20)
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def page(self, url: str, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> Page:
        """Open a page in a tab of its own."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=url)
        page.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page


class Page:
    """One tab."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return what JavaScript gives, a promise's value too. AssertionError if it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> float:
        """Wait until JavaScript gives something true; how many seconds that took."""
        began = time.monotonic()
        while not self.evaluate(expression):
            waited = time.monotonic() - began
            assert waited < seconds, f"{expression} is not true after {waited:.1f} s: {self.problems()}"
            time.sleep(0.02)
        return time.monotonic() - began

    def drop(self, *paths: Path, beside: bool = False) -> None:
        """Drag files from a folder onto the viewer, or onto the half that opens beside the first; let them fall."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        x, y = self.middle("body")
        self.call("Input.dispatchDragEvent", type="dragEnter", x=x, y=y, data=data)
        self.call("Input.dispatchDragEvent", type="dragOver", x=x, y=y, data=data)
        self.wait("!document.getElementById('drop').hidden")
        x, y = self.middle(f"#drop [data-beside='{int(beside)}']")
        # The page has answered to the first of these when it gets the second: only then does it accept a drop.
        for kind in ("dragOver", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)
            self.evaluate("new Promise((done) => requestAnimationFrame(done))")

    def middle(self, selector: str) -> tuple[float, float]:
        """Return where the middle of an element is, in pixels."""
        box = self.evaluate(
            f"(() => {{ const found = document.querySelector({selector!r}); "
            "found.scrollIntoView({block: 'nearest'}); const box = found.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return box[0], box[1]

    def click(self, selector: str) -> None:
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key: str, code: int = 0) -> None:
        """Press a key by its name, such as ``ArrowUp`` or ``l``."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def problems(self) -> list[str]:
        """Return what the page's console has of errors, and exceptions that nobody caught."""
        self.evaluate("0")  # events before this have come
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"].get("exception", parameters)))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return found

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)
