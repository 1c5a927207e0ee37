"""A file server that fails in scripted ways, one word a request; honest where the script ends.

ok        the range that was asked     whole     200 and the whole file instead
silent    no answer at all             stall     half of the body, then nothing
trickle   some bytes, then 8 at a time late      begins to answer after a while
rst       half, then a reset           cut       half, then closed
wrong     one byte flipped             other     right length, another file
gzip      claims to be compressed      size      a file of another size
etag      another ETag each time       star      Content-Range with an unknown size
short     half of the range only       bad-range `Content-Range: bytes 0-99/*`
chunked   in chunks, no length         no-length ends with the connection
http10    HTTP/1.0                     drop      closes after the answer without a word
long-head a header too long            continues 100 and 103 before the answer
longer    more body than said          loop      redirects to itself
nowhere   an unusable Location         file      redirects to file:
link      redirects to a signed link   move:URL  redirects to URL
404       that status                  503:2     with Retry-After in seconds
429@2     with Retry-After as a date, so many seconds after the answer's own Date
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import unquote

from support.raw_server import Visit, raw_server

LATE_S = 0.3
SHORT_BYTES = 2500
TRICKLE_S = 0.02
NOON = 1_800_000_000  # any moment: both dates of an answer come from the server's clock

_RANGE = re.compile(r"^range: bytes=(\d+)-(\d*)\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """One request: its path with the query, its range, its whole head."""

    path: str
    start: int | None
    stop: int | None
    head: str


@dataclass
class FaultyServer:
    """The running server.

    Attributes:
        script: Words for the requests to come, taken one by one.
        after: The word for every request when the script is at its end.
        link_uses: How many requests a signed link is good for.
        expired: What a link answers after that.
        link_serves: The word for a request that a signed link is good for.
    """

    url: str
    files: Mapping[str, bytes]
    script: list[str]
    after: str
    link_uses: int
    expired: str
    link_serves: str = "ok"
    requests: list[Asked] = field(default_factory=list)
    links: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def paths(self) -> list[str]:
        return [asked.path for asked in self.requests]

    def next_word(self, asked: Asked) -> str:
        """Return what to do with a request."""
        with self.lock:
            self.requests.append(asked)
            if asked.path.startswith("/signed/"):
                if self.links.get(asked.path, 0) <= 0:
                    return self.expired
                self.links[asked.path] -= 1
                return self.link_serves
            return self.script.pop(0) if self.script else self.after

    def new_link(self, path: str) -> str:
        """Return a signed link to a file."""
        with self.lock:
            link = f"/signed/{len(self.links)}{path}"
            self.links[link] = self.link_uses
            return link

    def body(self, path: str) -> bytes | None:
        name = re.sub(r"^/signed/\d+", "", path.partition("?")[0])
        return self.files.get(unquote(name.lstrip("/")))


@contextlib.contextmanager
def faulty_server(
    files: Mapping[str, bytes],
    *script: str,
    after: str = "ok",
    link_uses: int = 1_000_000,
    expired: str = "403",
    link_serves: str = "ok",
    context: ssl.SSLContext | None = None,
) -> Iterator[FaultyServer]:
    """Serve `files` (paths without the leading slash) on loopback for the length of the block."""
    server = FaultyServer("", files, list(script), after, link_uses, expired, link_serves)

    def behaviour(visit: Visit) -> None:
        while head := visit.head():
            asked = _parse(head)
            if not _answer(server, visit, asked, server.next_word(asked)):
                return

    with raw_server(behaviour, context=context) as raw:
        server.url = raw.url.replace("http:", "https:") if context is not None else raw.url
        yield server


def _parse(head: str) -> Asked:
    found = _RANGE.search(head)
    start = int(found[1]) if found else None
    stop = int(found[2]) + 1 if found and found[2] else None
    return Asked(head.split(" ")[1], start, stop, head)


def _answer(server: FaultyServer, visit: Visit, asked: Asked, word: str) -> bool:
    """Do what the word says; return whether the connection goes on."""
    if word[:3].isdigit():
        _say_no(visit, word)
        return True
    if word in ("loop", "nowhere", "file", "link") or word.startswith("move:"):
        place = {
            "loop": asked.path,
            "nowhere": "http://[bad/",
            "file": "file:///etc/hostname",
            "link": server.new_link(asked.path) if word == "link" else "",
        }.get(word, word.removeprefix("move:"))
        visit.answer(b"moved", status="302 Found", headers=f"Location: {place}\r\n")
        return True
    body = server.body(asked.path)
    if body is None:
        visit.answer(b"nothing here", status="404 Not Found")
        return True
    return _send(server, visit, asked, word, body)


def _say_no(visit: Visit, word: str) -> None:
    status, seconds = word[:3], word[4:]
    headers = ""
    if seconds:
        at = word[3] == "@"
        rest = formatdate(NOON + float(seconds), usegmt=True) if at else seconds
        headers = f"Retry-After: {rest}\r\nDate: {formatdate(NOON, usegmt=True)}\r\n"
    visit.answer(b"no", status=f"{status} No", headers=headers)


def _send(server: FaultyServer, visit: Visit, asked: Asked, word: str, body: bytes) -> bool:
    if word == "silent":
        visit.hang()
        return False
    if word == "wrong":
        body = bytes(byte ^ 1 for byte in body[:1]) + body[1:]
        word = "ok" if asked.start in (0, None) else "other"
    if word == "other":
        body = bytes(len(body))
    if word == "size":
        body += b"more"
    if word == "late":
        visit.server.stopped.wait(LATE_S)
    status, headers = "200 OK", _etag(server, word)
    start, stop = asked.start or 0, asked.stop or len(body)
    if asked.start is not None and word != "whole":
        status, more, start, stop = _range_head(word, asked, body)
        headers += more
    part = body[start:stop] if status != "200 OK" else body
    if word == "gzip":
        headers += "Content-Encoding: gzip\r\n"
    elif word == "long-head":
        headers += f"X-Long: {'x' * 100_000}\r\n"
    elif word == "continues":
        visit.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n")
    return _send_body(visit, word, f"{status}\r\n{headers}", part)


def _etag(server: FaultyServer, word: str) -> str:
    return f'ETag: "{len(server.requests) if word == "etag" else "one"}"\r\n'


def _range_head(word: str, asked: Asked, body: bytes) -> tuple[str, str, int, int]:
    start = asked.start or 0
    stop = min(asked.stop or len(body), len(body))
    if start >= len(body):
        return "416 No", f"Content-Range: bytes */{len(body)}\r\n", start, start
    if word == "short":
        stop = min(stop, start + SHORT_BYTES)
    shown = "0-99/*" if word == "bad-range" else f"{start}-{stop - 1}/"
    shown += "" if word == "bad-range" else "*" if word == "star" else str(len(body))
    return "206 Partial Content", f"Content-Range: bytes {shown}\r\n", start, stop


def _send_body(visit: Visit, word: str, head: str, body: bytes) -> bool:
    half = body[: len(body) // 2]
    length = f"Content-Length: {len(body)}\r\n"
    if word == "chunked":
        pieces = [body[at : at + 777] for at in range(0, len(body), 777)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        visit.send(
            f"HTTP/1.1 {head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n"
        )
        return True
    if word == "no-length":
        visit.send(f"HTTP/1.1 {head}Connection: close\r\n\r\n".encode() + body)
        return False
    if word == "http10":
        visit.send(f"HTTP/1.0 {head}{length}\r\n".encode() + body)
        return False
    start = f"HTTP/1.1 {head}{length}\r\n".encode()
    if word in ("stall", "rst", "cut", "trickle"):
        visit.send(start + half)
        _fail_halfway(visit, word, body[len(half) :])
        return False
    visit.send(start + body + (b"and something that nobody asked for" if word == "longer" else b""))
    return word != "drop"


def _fail_halfway(visit: Visit, word: str, rest: bytes) -> None:
    if word == "stall":
        visit.hang()
    elif word == "rst":
        visit.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif word == "trickle":
        for at in range(0, len(rest), 8):
            if visit.server.stopped.wait(TRICKLE_S):
                return
            visit.sock.sendall(rest[at : at + 8])
