"""The page in a real headless Chromium: looked at, checked for accessibility, used by keyboard.

The pictures in docs/images come from here: run with MIRRORNODE_TEST_PICTURES=docs/images.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mirrornode.store.alert_records import Standing
from support.axe import NotInstalled, axe_script
from support.browser import Browser, Look, PageOf, chromium, running_browser
from support.page_scene import MODEL, OWN_ID, PEERS, TOKEN, Scene, arriving, going_on, scene

pytestmark = pytest.mark.skipif(
    not chromium(),
    reason="no Chromium here: install chromium-headless-shell, or name one in "
    "MIRRORNODE_TEST_CHROMIUM",
)

PICTURES = os.environ.get("MIRRORNODE_TEST_PICTURES", "")
KEPT_PICTURES = Path(__file__).parents[2] / "docs" / "images"
MAX_PICTURE_BYTES = 150_000
PNG = b"\x89PNG\r\n\x1a\n"
EVIL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
DESKTOP_EN = Look(1040, 820)
DESKTOP_ZH_DARK = Look(1040, 820, "dark", "zh-CN")
PHONE_EN_DARK = Look(390, 844, "dark", "en-GB", is_phone=True)
PHONE_ZH = Look(390, 844, "light", "zh-TW", is_phone=True)
LOOKS = {  # and the part that is at the top of the picture
    "page-desktop-light": (DESKTOP_EN, "main"),
    "page-models-light": (DESKTOP_EN, "#shared-title"),
    "page-desktop-dark-zh": (DESKTOP_ZH_DARK, "main"),
    "page-phone-dark": (PHONE_EN_DARK, "main"),
    "page-phone-light-zh": (PHONE_ZH, "#shared-title"),
}

CROSSED_NAMES = """(() => {
  const isIn = (box, point) => point.x > box.x && point.x < box.x + box.width
    && point.y > box.y && point.y < box.y + box.height;
  const points = [...document.querySelectorAll('#map path')].flatMap((path) =>
    Array.from({length: 41}, (_, step) =>
      path.getPointAtLength(path.getTotalLength() * step / 40)));
  const names = [...document.querySelectorAll('#map text:not([text-anchor=middle])')];
  return names.filter((name) => points.some((point) => isIn(name.getBBox(), point)))
    .map((name) => name.textContent);
})()"""  # of the map, those that a line runs through


@dataclass
class Opened:
    """A page of a busy team's node, in a browser."""

    made: Scene
    page: PageOf

    async def open(self, look: Look | None = None) -> None:
        """Open it anew."""
        if look is not None:
            await self.page.look(look)
        await self.page.goto(f"{self.made.url}/ui/")
        await self.page.until("document.querySelector('#disk li')")

    async def text(self, selector: str) -> str:
        """Return the text of what is there."""
        return str(
            await self.page.value(f"document.querySelector({json.dumps(selector)}).innerText")
        )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
async def opened(tmp_path: Path, browser: Browser) -> AsyncIterator[Opened]:
    async with scene(tmp_path, is_busy=True) as made, browser.page() as page:
        yield Opened(made, page)
        assert page.errors == []
        assert all(url.startswith(made.url) for url in page.requests if url != "about:blank")


async def serious_faults(page: PageOf) -> list[str]:
    """Return what axe-core finds that keeps people out."""
    try:
        script = axe_script()
    except NotInstalled as exc:
        pytest.skip(str(exc))
    await page.value(f"(() => {{ {script} }})()")
    found: dict[str, Any] = await page.value(
        "axe.run(document, {resultTypes: ['violations']})"
        ".then(found => ({violations: found.violations.map(one => ({id: one.id,"
        " impact: one.impact, nodes: one.nodes.map(node => node.html.slice(0, 200) + ' | '"
        " + node.failureSummary)})), passes: found.passes.length}))"
    )
    assert found["passes"] > 0
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][:3]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("name", LOOKS)
async def test_page_looks_as_in_the_docs_and_keeps_nobody_out(
    opened: Opened, tmp_path: Path, name: str
) -> None:
    (look, top), page = LOOKS[name], opened.page
    async with arriving(opened.made):
        await opened.open(look)
        await page.until("document.querySelectorAll('#transfers li .sources li').length === 3")
        await page.until("document.querySelectorAll('#map path').length >= 3")
        lang = await page.value("document.documentElement.lang")
        assert lang == ("zh-CN" if look.language.startswith("zh") else "en")
        # Nothing is wider than the screen.
        assert await page.value("document.documentElement.scrollWidth") <= look.width
        assert await page.value(CROSSED_NAMES) == []
        await page.value(f"document.querySelector('{top}').scrollIntoView()")
        shot = await page.picture()
        assert await serious_faults(page) == []
    folder = Path(PICTURES) if PICTURES else tmp_path
    (folder / f"{name}.png").write_bytes(shot)
    for picture in (folder / f"{name}.png", KEPT_PICTURES / f"{name}.png"):
        head = picture.read_bytes()
        assert head.startswith(PNG)
        assert len(head) < MAX_PICTURE_BYTES
        size = [int.from_bytes(head[start : start + 4], "big") for start in (16, 20)]
        assert size == [look.width, look.height]


async def test_new_node_is_told_what_to_do_next(tmp_path: Path, browser: Browser) -> None:
    async with scene(tmp_path) as made, browser.page() as page:
        opened = Opened(made, page)
        await opened.open()
        for part, command in {
            "#transfers-empty": "mirrornode get",
            "#peers-empty": "mirrornode serve",
            "#shared-empty": "mirrornode add",
            "#mirrors-empty": "[[mirror]]",
            "#history-empty": "mirrornode get",
        }.items():
            assert command in await opened.text(part)
        assert await serious_faults(page) == []
        assert page.errors == []


async def test_download_appears_and_goes_without_a_reload(opened: Opened) -> None:
    await opened.open()
    assert await opened.page.value("document.querySelectorAll('#transfers li').length") == 0
    async with arriving(opened.made):
        await opened.page.until("document.querySelector('#transfers .transfer .sources li')")
        shown = await opened.text("#transfers .transfer")
        assert "hf:deepseek-ai/DeepSeek-V3.2" in shown
        assert "412\xa0MB/s" in shown
    await opened.page.until("!document.querySelector('#transfers li')")


async def test_numbers_that_change_all_the_time_are_drawn_now_and_then(opened: Opened) -> None:
    page = opened.page
    await opened.open()
    async with arriving(opened.made) as recording, going_on(opened.made, recording):
        await page.until("document.querySelector('#transfers li')")
        await page.value(
            "window.drawn = []; new MutationObserver(() => drawn.push(performance.now()))"
            ".observe(document.getElementById('main'), "
            "{subtree: true, childList: true, characterData: true, attributes: true})"
        )
        await page.until("drawn.length >= 3")
        times = await page.value("drawn")
        assert min(after - before for before, after in pairwise(times)) > 1500


async def test_names_of_strangers_are_text_and_nothing_else(opened: Opened) -> None:
    made, page = opened.made, opened.page
    for row in made.said["roots"]:
        row["name"] = EVIL
    for peer in made.said["peers"]:
        peer["agent"] = EVIL
    made.said["status"]["alerts"][0]["text"] = EVIL
    made.said["repos"][0]["licence"] = EVIL
    made.said["pins"][0]["name"] = EVIL
    await opened.open()
    async with arriving(made, EVIL) as running:
        running.stop  # noqa: B018  # it runs
        await page.until("document.querySelector('#transfers .name')")
        await page.until("document.querySelector('#peers tr')")
        assert EVIL in await opened.text("#peers")
        assert EVIL in await opened.text("#shared")
        assert EVIL in await opened.text("#alert-list")
        assert await page.value("document.querySelectorAll('main img, main script').length") == 0
        assert await page.value("document.title") != "taken"


async def test_page_is_used_by_keyboard_alone(opened: Opened) -> None:
    page = opened.page
    await opened.open()
    reached: list[str] = []
    for _ in range(12):
        await page.press("Tab")
        reached.append(
            await page.value("document.activeElement.id || document.activeElement.className")
        )
    assert reached[0] == "skip"
    assert {"lang-en", "lang-zh", "theme", "login-open", "filter"} <= set(reached)
    assert await page.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    await page.value("document.getElementById('lang-zh').focus()")
    await page.press("Enter")
    await page.until("document.getElementById('shared-title').textContent === '已共享和固定'")
    await page.value("document.getElementById('login-open').focus()")
    await page.press("Enter")
    await page.until("document.getElementById('login').open")
    assert await page.value("document.activeElement.id") == "token"
    assert await serious_faults(page) == []
    await page.press("Escape")
    await page.until("!document.getElementById('login').open")


async def test_owner_logs_in_pins_and_stops(opened: Opened) -> None:
    made, page = opened.made, opened.page
    await opened.open()
    assert await page.value("document.getElementById('pin-form').hidden")

    async def log_in(token: str) -> None:
        await page.value(
            "document.getElementById('login').open || document.getElementById('login-open').click()"
        )
        await page.value(f"document.getElementById('token').value = {json.dumps(token)}")
        await page.value("document.querySelector('#login-form button[type=submit]').click()")

    await log_in("x" * 40)
    await page.until("document.getElementById('login-error').textContent")
    page.errors.clear()  # the browser notes the refusal
    await log_in(TOKEN)
    await page.until("!document.getElementById('pin-form').hidden")
    await page.until("document.querySelectorAll('#shared tr').length === 6")
    await page.value(
        "document.getElementById('pin-target').value = 'hf:org/new';"
        "document.querySelector('#pin-form button').click()"
    )
    await page.until("document.getElementById('toast').textContent")
    assert made.called == [("pin", {"target": "hf:org/new"})]
    await page.value(
        f"document.querySelector('#shared tr [title=\"{MODEL}\"]')"
        ".closest('tr').querySelector('td.own button').click()"
    )
    await page.until("document.getElementById('toast').textContent.includes('No longer')")
    assert made.called[1:] == [("unpin", {"target": MODEL, "name": "assistant"})]
    assert await page.value("document.cookie") == ""
    assert await serious_faults(page) == []


async def test_mirror_or_origin_that_is_put_aside_is_marked_with_the_reason(
    opened: Opened,
) -> None:
    origin = Standing("hub:other.example", "trial", "slow", "origin other.example slow", 1e9, 1)
    catalog = opened.made.catalog
    catalog.save_alerts([], [*catalog.standings(), origin])
    await opened.open(DESKTOP_ZH_DARK)
    marked = "#mirrors li[data-standing=aside]"
    await opened.page.until(f"document.querySelector('{marked}')")
    shown = await opened.text(marked)
    assert "https://gateway.far.example/" in shown
    assert "已搁置" in shown
    assert "失败过多" in shown
    assert "failed in 7 of its last 26" in shown
    assert "other.example" in await opened.text("#mirrors li[data-standing=trial]")
    assert await serious_faults(opened.page) == []
    await opened.page.value("document.getElementById('lang-en').click()")
    assert "fails too often" in await opened.text(marked)


async def test_list_of_peers_names_each_with_its_distance(opened: Opened) -> None:
    await opened.open()
    await opened.page.until("document.querySelectorAll('#peers tr').length === 4")
    shown = await opened.text("#peers")
    assert "0.4\xa0ms" in shown
    assert PEERS[0][-8:] in shown
    assert OWN_ID[-8:] in await opened.text("#identity")
