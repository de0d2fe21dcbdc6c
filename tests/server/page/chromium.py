"""Headless Chromium driven by the DevTools protocol over two pipes: no driver program, no port, no dependency."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    ),
    *("--disable-extensions", "--disable-sync", "--disable-background-networking", "--disable-component-update"),
    # A mouse that hovers, as on a desk: without a screen Chromium has neither.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    *("--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required", "--mute-audio"),
    # Names in place of addresses: a page from them is not secure, as one from another computer is not.
    *("--host-resolver-rules=MAP phi4mm.test 127.0.0.1", "--remote-debugging-pipe"),
)
# The browser reads commands from descriptor 3 and writes to 4; no test forks by itself.
TRAMPOLINE = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""
KEYS = {
    **{"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), "ArrowRight": (39, ""), "ArrowLeft": (37, "")},
    **{" ": (32, " "), "v": (86, ""), "k": (75, "")},
}
PERMISSIONS = ("audioCapture", "videoCapture", "clipboardReadWrite", "clipboardSanitizedWrite")
# What the content security policy refuses, written down.
WATCH = """
addEventListener('securitypolicyviolation', (event) => {
  (window.violations ??= []).push(event.violatedDirective + ' ' + event.blockedURI);
});
"""
SHIFT, CONTROL = 8, 2


def found() -> str | None:
    """The path of the browser, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One process; each page has a context of its own, with nothing kept from another one."""

    def __init__(self, program: str, folder: Path, audio: Path, video: Path) -> None:
        commands, self._send = os.pipe()
        self._receive, answers = os.pipe()
        devices = (f"--use-file-for-fake-audio-capture={audio}", f"--use-file-for-fake-video-capture={video}")
        words = [program, *FLAGS, *devices, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", TRAMPOLINE, str(commands), str(answers), *words],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._rest, self._number = b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, limit: float = 20.0, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer. Raises RuntimeError, TimeoutError after `limit` seconds."""
        self._number += 1
        number, end = self._number, time.monotonic() + limit
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message(end - time.monotonic(), method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def _message(self, limit: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._receive], [], [], max(limit, 0))[0]:
                raise TimeoutError(f"{method}: no answer from the browser")
            piece = os.read(self._receive, 1 << 20)
            if not piece:
                raise RuntimeError(f"{method}: the browser has ended")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def page(self, address: str, **options: Any) -> Page:
        """A page at this address, when its script says that it is ready."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, context, session, address, **options)

    def close(self) -> None:
        """End the browser."""
        self.call("Browser.close")
        self._process.wait(timeout=20)
        os.close(self._send)
        os.close(self._receive)


class Page:
    """A tab, driven by the keys and the mouse of a user."""

    def __init__(
        self, browser: Browser, context: str, session: str, address: str, *,
        size: tuple[int, int] = (1280, 800), dark: bool = False, still: bool = True, script: str = "",
        permissions: tuple[str, ...] = PERMISSIONS, worker: bool = False,
        ready: str = "document.body?.dataset.ready === 'true'",
    ) -> None:  # fmt: skip
        self.browser, self.context, self.session, self.address = browser, context, session, address
        self.ready = ready
        self.call("Runtime.enable")
        self.call("Page.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.emulate(size, dark=dark, still=still)
        # A service worker fetches every file once more: only what is about it waits for that.
        watch = WATCH + ("" if worker else "delete Navigator.prototype.serviceWorker;")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=watch + script)
        if permissions:
            browser.call("Browser.grantPermissions", permissions=list(permissions), browserContextId=context)
        self.open(address)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def emulate(self, size: tuple[int, int], *, dark: bool = False, still: bool = True) -> None:
        """A window of this size; narrow ones are phones."""
        phone = size[0] < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=phone
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "",
        }
        named = [{"name": name, "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is ready."""
        self.call("Page.navigate", url=address)
        self.wait(self.ready, limit=15)

    def renew(self, address: str) -> None:
        """Forget all that the page kept, and open it anew: faster than a context of its own."""
        self.call("Page.bringToFront")  # behind another tab a page neither draws nor pastes
        self.js("sessionStorage.clear()")
        self.call("Page.navigate", url="about:blank")
        self.call("Storage.clearDataForOrigin", origin=address.rstrip("/"), storageTypes="all")
        self.browser.events = [event for event in self.browser.events if event.get("sessionId") != self.session]
        self.emulate((1280, 800))
        self.open(address)

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited. Raises RuntimeError where it throws."""
        given = {"awaitPromise": True, "returnByValue": True, "userGesture": True, "allowUnsafeEvalBlockedByCSP": False}
        answer = self.call("Runtime.evaluate", expression=expression, **given)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer))[:500])
        return answer["result"].get("value")

    def wait(self, expression: str, limit: float = 8.0) -> Any:
        """The value of an expression as soon as it is true (an element is). Raises TimeoutError."""
        settled = (
            f"(async () => {{ const value = await ({expression}); return value instanceof Node ? true : value; }})()"
        )
        end = time.monotonic() + limit
        while True:
            try:
                if value := self.js(settled):
                    return value
            except RuntimeError as error:  # the page is just being replaced
                if time.monotonic() > end:
                    raise TimeoutError(f"{expression}: {error}") from error
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} stayed {self.js(settled)!r}; the page says: {self.text()[-600:]}")
            time.sleep(0.02)

    def text(self, selector: str = "body") -> str:
        return str(self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str, at: int = 0) -> None:
        """Press the mouse on an element. Raises TimeoutError where none is seen, or another one lies over it."""
        name = json.dumps(selector)
        # It must be what a person would hit there.
        point = f"""(() => {{
          const node = document.querySelectorAll({name})[{at}];
          if (!node || node.disabled || node.closest('[inert]')) return null;
          node.scrollIntoView({{block: 'nearest'}});
          const box = node.getBoundingClientRect();
          const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
          const hit = document.elementFromPoint(x, y);
          return hit && (node === hit || node.contains(hit)) ? [x, y] : null;
        }})()"""
        x, y = self.wait(point)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, modifiers: int = 0, **more: Any) -> None:
        """One key down and up."""
        code, text = KEYS[key]
        given = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers, **more}
        self.call(
            "Input.dispatchKeyEvent",
            type="keyDown",
            **given,
            **({"text": text} if text and not modifiers & CONTROL else {}),
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    def type(self, text: str, into: str | None = None) -> None:
        """Write text where the cursor is, or in place of what a field holds."""
        if into is not None:
            self.js(f"{{ const field = document.querySelector({json.dumps(into)}); field.focus(); field.select(); }}")
        self.call("Input.insertText", text=text)

    def files(self, selector: str, *paths: Path) -> None:
        """Choose files as in the dialog of a file field."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop(self, path: Path, x: int = 600, y: int = 300) -> None:
        """Drop a file on the page."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def downloads(self, folder: Path) -> None:
        """Save downloads into a folder."""
        self.browser.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), browserContextId=self.context
        )

    def screenshot(self) -> bytes:
        """PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def faults(self) -> list[str]:
        """Uncaught exceptions of this page, and what its content security policy refused."""
        violations = self.js("window.violations ?? []")
        thrown = [
            event["params"]["exceptionDetails"]
            .get("exception", {})
            .get("description", event["params"]["exceptionDetails"]["text"])
            for event in self.browser.events
            if event.get("sessionId") == self.session and event.get("method") == "Runtime.exceptionThrown"
        ]
        return [*violations, *thrown]

    def close(self) -> None:
        """Forget the page and all that it kept."""
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.browser.events = [event for event in self.browser.events if event.get("sessionId") != self.session]
