"""What an open tab of the page costs: `python -m support.page_cost [--seconds 30]`.

Opens the page of a busy team in a headless Chromium, lets a download run whose numbers all change
every second, and prints the CPU time of all processes of the browser in percent of one core, and
that of an empty tab to compare. No test: the number is one of this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.usage import Usage
from support.browser import Browser, Look, PageOf, running_browser
from support.page_scene import arriving, going_on, scene

COUNTS = ("LayoutCount", "RecalcStyleCount")
TIMES = ("LayoutDuration", "RecalcStyleDuration", "ScriptDuration", "TaskDuration")
SETTLE_S = 5.0


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of one measurement")
    parser.add_argument("--times", type=int, default=3, help="how often")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--top", default="main", help="the part that is at the top")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_browser(Path(folder)) as browser:
        empty = await measured(browser, "about:blank", options)
        sys.stdout.write(f"empty tab: {empty:.2f} % of a core\n")
        async with (
            scene(Path(folder) / "node", is_busy=True) as made,
            arriving(made) as recording,
            going_on(made, recording),
        ):
            for _ in range(options.times):
                took = await measured(browser, f"{made.url}/ui/", options)
                sys.stdout.write(f"page: {took:.2f} % of a core\n")


async def measured(browser: Browser, url: str, options: argparse.Namespace) -> float:
    """Return percent of a core that the browser takes with one tab."""
    async with tab(browser, url, Look(options.width, 900), options.top) as page:
        await asyncio.sleep(SETTLE_S)
        before = await numbers(page)
        usage = Usage([browser.pid])
        await asyncio.sleep(options.seconds)
        cpu_s, after = usage.cpu_s(), await numbers(page)
    for name in (*COUNTS, *TIMES):
        each = (after[name] - before[name]) / options.seconds
        shown = f"{each:.1f}/s" if name in COUNTS else f"{1000 * each:.2f} ms/s"
        sys.stdout.write(f"  {name} {shown}\n")
    return 100 * cpu_s / float(options.seconds)


@asynccontextmanager
async def tab(browser: Browser, url: str, look: Look, top: str) -> AsyncIterator[PageOf]:
    """Open a tab, and let the browser tell nothing of it by itself: that would cost, too."""
    async with browser.page(look) as page:
        await page.send("Page.navigate", url=url)
        if url.startswith("http"):
            await page.until("document.querySelector('#transfers li .sources li')")
            await page.value(f"document.querySelector('{top}').scrollIntoView()")
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.send(f"{domain}.disable")
        await page.send("Performance.enable")
        yield page


async def numbers(page: PageOf) -> dict[str, float]:
    """Return what the renderer has counted."""
    said = await page.send("Performance.getMetrics")
    return {one["name"]: one["value"] for one in said["metrics"]}


if __name__ == "__main__":
    asyncio.run(main())
