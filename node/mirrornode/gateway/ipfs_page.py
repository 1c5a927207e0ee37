"""The page of a folder: plain HTML made here, with nothing in it that runs or is loaded.

Names come from strangers; every text goes through `html.escape` or is percent-encoded. The style
is inside the page and named by its hash in the policy, so that no other one would be taken.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from mirrornode.gateway.ipfs_headers import short_hash

if TYPE_CHECKING:
    from mirrornode.content.cid import Cid
    from mirrornode.gateway.ipfs_folder import FolderPage, Row

_STYLE = """
:root{color-scheme:light dark;--back:#fbfbfa;--card:#fff;--text:#1d2125;--soft:#667078;
--line:#e4e6e8;--link:#0b62c4;--mark:#eef3f9}
@media (prefers-color-scheme:dark){:root{--back:#14171a;--card:#1b1f23;--text:#e3e6e8;
--soft:#98a2aa;--line:#2c3238;--link:#79b4ff;--mark:#222a33}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 3rem}
nav{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:.4rem 0 .2rem;overflow-wrap:anywhere}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.facts{color:var(--soft);margin:0 0 1rem}
.get{background:var(--card);border:1px solid var(--line);border-radius:.6rem;
padding:.8rem 1rem;margin:0 0 1rem}
.get p{margin:0 0 .4rem;color:var(--soft);font-size:.9rem}.get p.more{margin:.8rem 0 0}
code{font:.85rem/1.4 ui-monospace,monospace;user-select:all;-webkit-user-select:all}
.get code{display:block;background:var(--mark);border-radius:.35rem;padding:.5rem .6rem;
overflow-wrap:anywhere}
.more{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);
border-radius:.6rem;table-layout:fixed}
th,td{padding:.5rem .8rem;text-align:left;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;font-weight:600;font-size:.85rem;color:var(--soft)}
.name{overflow-wrap:anywhere}
.size{width:7rem;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.cid{width:17rem;color:var(--soft)}
.cid code{display:block;line-height:1.5rem;overflow:hidden;white-space:nowrap;
text-overflow:ellipsis}
.take{width:7rem;text-align:right}
.soft{color:var(--soft)}
.pages{display:flex;gap:1.5rem;margin:1rem 0 0}
footer{margin:2rem 0 0;color:var(--soft);font-size:.85rem}
@media (max-width:45rem){thead{display:none}table,tbody{display:block}
tr{display:flex;flex-wrap:wrap;gap:0 1rem;border-top:1px solid var(--line);padding:.6rem .8rem}
tbody tr:first-child{border-top:0}td{border:0;padding:0;width:auto}
td.name,td.cid{width:100%}td.size,td.take{width:auto}td.cid{order:1}td.size{color:var(--soft)}}
"""

PAGE_VERSION = short_hash("1", _STYLE)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

_UNITS = ("kB", "MB", "GB", "TB", "PB")


class PageFrame(NamedTuple):
    """What is said of the folder as a whole.

    Attributes:
        namespace: "ipfs" or "ipns".
        root: CID or name that the path begins with.
        segments: The path below it.
        name: Of the folder, "" when it has none.
        cid: Of the folder.
        size_bytes: What its files weigh, None when only the folder's own word is known.
        is_continued: Other pages of it come before.
    """

    namespace: str
    root: str
    segments: Sequence[str]
    name: str
    cid: Cid
    size_bytes: int | None
    is_continued: bool


def render_page(frame: PageFrame, page: FolderPage) -> str:
    """Return the HTML of one page of a folder."""
    name = frame.name or "Folder"
    size_bytes = page.claimed_bytes if frame.size_bytes is None else frame.size_bytes
    about = "about " if frame.size_bytes is None else ""
    count = "a large folder"
    if page.total is not None:
        count = f"{page.total:,} {'entry' if page.total == 1 else 'entries'}"
    rows = "".join(_row(row) for row in page.rows)
    if not rows:
        rows = '<tr><td class="name soft" colspan="4">This folder is empty.</td></tr>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head><body><main>"
        f"<nav>{_crumbs(frame)}</nav><h1>{escape(name)}</h1>"
        f'<p class="facts">{count}, {about}{shown_size(size_bytes)}{_range(page)}</p>'
        f'<div class="get"><p>Get it with every byte checked:</p>'
        f"<code>mirrornode get {frame.cid}</code>"
        f'<p class="more">{_links(frame, page)}</p></div>'
        '<table><thead><tr><th class="name">Name</th><th class="size">Size</th>'
        '<th class="cid">CID</th><th class="take"></th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{_pages(frame, page)}"
        "<footer>Served by mirrornode from this machine. A click on a CID or on the command "
        "selects all of it.</footer></main></body></html>\n"
    )


def shown_size(size_bytes: int) -> str:
    """Return a size as people read it, in powers of ten."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    size, power = size_bytes / 1000, 0
    while size >= 999.5 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.{1 if size < 99.95 else 0}f} {_UNITS[power]}"


def _crumbs(frame: PageFrame) -> str:
    depth = len(frame.segments)
    root = frame.root if len(frame.root) <= 20 else f"{frame.root[:8]}…{frame.root[-6:]}"
    shown = []
    for index, name in enumerate([root, *frame.segments]):
        up = "../" * (depth - index) or "./"
        shown.append(f'<a href="{up}">{escape(name)}</a>')
    return f"/{frame.namespace}/ " + " / ".join(shown)


def _range(page: FolderPage) -> str:
    if page.first is None:
        return f"; {len(page.rows):,} entries on this page, in no order of names"
    if not page.first and not page.next_after:
        return ""
    return f"; shown are {page.first + 1:,} to {page.first + len(page.rows):,}"


def _links(frame: PageFrame, page: FolderPage) -> str:
    name = quote(frame.name or str(frame.cid), safe="")
    links = [
        f'<a href="?format={kind}&amp;filename={name}.{kind}" download>Download as .{kind}</a>'
        for kind in ("tar", "car")
    ]
    if page.card:
        links.insert(0, f'<a href="./{quote(page.card)}">{escape(page.card)}</a>')
    if frame.segments:
        links.append('<a href="../">Folder above</a>')
    return " ".join(links)


def _row(row: Row) -> str:
    name, cid = escape(row.name), str(row.cid)
    size = shown_size(row.size_bytes) if row.size_bytes or row.kind == "file" else ""
    take = ""
    if not row.is_safe:
        shown = f'<span class="soft">{name} (not a file name)</span>'
    elif row.kind == "folder":
        shown, size = f'<a href="./{quote(row.name)}/">{name}/</a>', f"~ {size}" if size else ""
    else:
        shown = f'<a href="./{quote(row.name)}">{name}</a>'
        if row.kind == "file":
            take = f'<a href="./{quote(row.name)}?download=true" download>Download</a>'
        elif row.kind == "link":
            shown, size = f'{shown} <span class="soft">(link)</span>', ""
        else:
            shown, size = f"{shown}", f"~ {size}" if size else ""
    return (
        f'<tr><td class="name">{shown}</td><td class="size">{size}</td>'
        f'<td class="cid"><code title="{cid}">{cid}</code></td><td class="take">{take}</td></tr>'
    )


def _pages(frame: PageFrame, page: FolderPage) -> str:
    links = []
    if frame.is_continued:
        links.append('<a href="./">First page</a>')
    if page.next_after:
        links.append(f'<a href="?after={page.next_after.hex()}">Next page</a>')
    return f'<p class="pages">{" ".join(links)}</p>' if links else ""
