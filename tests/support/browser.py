"""A real headless Chromium, driven over its DevTools protocol; nothing but aiohttp is needed.

Spec: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.waiting import until_sync

NAMES = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)
NAME_VARIABLE = "MIRRORNODE_TEST_CHROMIUM"
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-sandbox",  # containers of continuous integration run as root
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
)


def chromium() -> str:
    """Return the program, "" when there is none on this machine."""
    given = os.environ.get(NAME_VARIABLE)
    found = (shutil.which(name) for name in ([given] if given else NAMES))
    return next(filter(None, found), "")


@dataclass
class Look:
    """How a page is looked at."""

    width: int = 1280
    height: int = 900
    scheme: str = "light"
    language: str = "en-US"
    is_phone: bool = False


@dataclass
class PageOf:
    """One page of a browser."""

    socket: aiohttp.ClientWebSocketResponse
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def read(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self.socket:
            record = json.loads(message.data)
            if "id" in record:
                self._waiting.pop(record["id"]).set_result(record)
            elif record["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(record["params"]["exceptionDetails"])[:500])
            elif record["method"] == "Log.entryAdded":
                entry = record["params"]["entry"]
                if entry["level"] == "error":
                    self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            elif record["method"] == "Network.requestWillBeSent":
                self.requests.append(record["params"]["request"]["url"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        record = await self._waiting[number]
        assert "error" not in record, (method, record)
        result: dict[str, Any] = record["result"]
        return result

    async def look(self, look: Look) -> None:
        """Set size, colours and language; pages that are opened from now on have them."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=look.width,
            height=look.height,
            deviceScaleFactor=1,
            mobile=look.is_phone,
        )
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": look.scheme}],
        )
        await self.send(
            "Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=look.language
        )

    async def goto(self, url: str) -> None:
        """Open a URL and wait until its scripts have run."""
        await self.send("Page.navigate", url=url)
        await self.until(
            f"document.readyState === 'complete' && location.href !== 'about:blank' "
            f"&& location.href.startsWith({json.dumps(url.split('#')[0])})"
        )

    async def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript gives; a promise is waited for."""
        result = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (expression, result)
        return result["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true; the test's own timeout bounds it."""
        while not await self.value(f"Boolean({condition})"):  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.02)

    async def press(self, key: str) -> None:
        """Press and let go a key, such as "Tab" or "Enter"."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            await self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **text,
            )

    async def picture(self, *, is_whole: bool = False) -> bytes:
        """Return what is seen, or all of the page, as PNG."""
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=is_whole)
        return base64.b64decode(shot["data"])


@dataclass
class Browser:
    """A running browser."""

    base: str
    pid: int

    @asynccontextmanager
    async def page(self, look: Look | None = None) -> AsyncIterator[PageOf]:
        """Open an empty page for the length of the block."""
        async with AsyncExitStack() as stack:
            # The proxy of the environment is not for a browser beside us.
            session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
            # A context of its own: no cookie or setting of another page.
            async with session.get(f"{self.base}/json/version") as answer:
                url = (await answer.json())["webSocketDebuggerUrl"]
            whole = await stack.enter_async_context(_talking(session, url))
            context = await whole.send("Target.createBrowserContext", disposeOnDetach=True)
            target = await whole.send(
                "Target.createTarget",
                url="about:blank",
                browserContextId=context["browserContextId"],
            )
            host = self.base.removeprefix("http://")
            url = f"ws://{host}/devtools/page/{target['targetId']}"
            page = await stack.enter_async_context(_talking(session, url))
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.send(f"{domain}.enable")
            await page.look(look or Look())
            yield page


@asynccontextmanager
async def _talking(session: aiohttp.ClientSession, url: str) -> AsyncIterator[PageOf]:
    """Speak to the browser, or to one page of it, for the length of the block."""
    async with session.ws_connect(url, max_msg_size=64 << 20) as socket:
        page = PageOf(socket)
        reading = asyncio.create_task(page.read())
        try:
            yield page
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


@contextlib.contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser with a fresh profile for the length of the block."""
    with (folder / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [chromium(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": os.fspath(folder)},
            start_new_session=True,
        )
    port_file = folder / "profile" / "DevToolsActivePort"
    try:
        until_sync(lambda: port_file.exists() and "\n" in port_file.read_text())
        port = port_file.read_text().splitlines()[0]
        yield Browser(f"http://127.0.0.1:{port}", process.pid)
    finally:
        # The program may be a script that waits for the real one: end all of its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
