"""A real Chromium, driven by the DevTools protocol over a WebSocket: what the page does in it."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.limits import HANG_S

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu",
    "--no-default-browser-check", "--disable-background-networking", "--disable-extensions",
    "--force-color-profile=srgb", "--hide-scrollbars",
)  # fmt: skip


def browser_path() -> str | None:
    """Where Chromium is; None without it."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page open."""

    def __init__(self, folder: Path) -> None:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [str(browser_path()), *OPTIONS, *root, f"--user-data-dir={folder}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, **quiet)
        self.loop = asyncio.new_event_loop()
        self.number = 0
        self.events: list[dict[str, Any]] = []
        try:
            self.loop.run_until_complete(self.connect(folder / "DevToolsActivePort"))
        except BaseException:
            self.close()
            raise
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    async def connect(self, port_file: Path) -> None:
        """Attach to the browser's first page."""
        end = time.monotonic() + HANG_S
        while not port_file.is_file() or not port_file.read_text().strip():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("Chromium did not start")
            await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [one for one in await answer.json() if one["type"] == "page"]
        self.socket = await self.session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )

    async def request(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """What the browser answers; events that come before it are kept."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            found = json.loads((await self.socket.receive(timeout=HANG_S)).data)
            if found.get("id") == self.number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self.events.append(found)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        return self.loop.run_until_complete(self.request(method, parameters))

    def run(self, code: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        found = self.send(
            "Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def wait(self, code: str) -> Any:
        """The first true value of an expression."""
        end = time.monotonic() + HANG_S
        while not (found := self.run(code)):
            if time.monotonic() > end:
                raise RuntimeError(f"never true: {code}")
            time.sleep(0.02)
        return found

    def open(self, address: str) -> None:
        """Open an address, and wait until the page's own script has run."""
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        self.send("Page.navigate", url=address)
        ready = "document.readyState === 'complete' && 'ready' in document.documentElement.dataset"
        self.wait(ready)

    def size(self, width: int, height: int = 900, scale: float = 1) -> None:
        """Set the size of the window, in CSS pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    def theme(self, name: str) -> None:
        """What the system is said to prefer: "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def choose(self, name: str, value: str) -> None:
        """Choose an option of a select as a person does."""
        code = f"const e = document.getElementById({name!r}); e.value = {value!r}; "
        self.run(f"(() => {{ {code} e.dispatchEvent(new Event('change')); }})()")

    def text(self, query: str) -> str:
        """The text of an element as it is shown."""
        return self.run(f"document.querySelector({query!r}).innerText")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def picture(self, path: Path, whole: bool = True) -> Path:
        """The page as a PNG."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def complaints(self) -> list[str]:
        """What the console and the network said that nobody wants to hear."""
        self.run("0")
        bad = []
        for event in self.events:
            method, told = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                bad.append(str(told["exceptionDetails"].get("exception", told)))
            if method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
                bad.append(str(told["args"]))
            if method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                bad.append(told["entry"]["text"])
        return bad

    def fetched(self) -> list[str]:
        """Addresses that were asked for, the page's own among them."""
        self.run("0")
        wanted = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in wanted]

    def close(self) -> None:
        """End the browser."""
        with suppress(Exception):
            self.send("Browser.close")
        with suppress(Exception):
            self.loop.run_until_complete(self.session.close())
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.loop.close()
