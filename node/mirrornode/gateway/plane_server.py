"""The peer plane's server: a thread per connection, so that bulk bytes bypass the event loop.

Through asyncio every encrypted piece is copied twice and costs a turn of the loop: 40 % more CPU
than a blocking socket. The standard library's HTTP server parses requests; this module adds TLS,
the bearer, bounds, and the two ways to send: encrypted pieces, or sendfile on a plain plane. Every
piece is counted, and waits for its turn when uploads are limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import SplitResult, parse_qs, urlsplit

from mirrornode.buffers import page_aligned
from mirrornode.content.car import CAR_TYPE, section_head
from mirrornode.content.cid import Cid
from mirrornode.errors import ContentError, RemoteProtocolError
from mirrornode.gateway.answers import (
    PIECE_BYTES,
    WRITE_BYTES,
    Answer,
    ContentAnswers,
    refusal,
)
from mirrornode.gateway.door import RETRY_AFTER_S, Door
from mirrornode.gateway.listeners import tune_for_lan
from mirrornode.mirror.shelf import OpenFile
from mirrornode.sources.sealed_stream import SealedStream
from mirrornode.transfer.limit import SMALL_BYTES
from mirrornode.wire import batch, sealed
from mirrornode.wire import ticket as tickets
from mirrornode.wire.ranges import RangeNotSatisfiable, content_range, parse_range

if TYPE_CHECKING:
    from mirrornode.gateway.peer_plane import TicketOffice
    from mirrornode.mirror.shelf import Shelf
    from mirrornode.transfer.pacing import Uploads

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
MAX_CONNECTIONS_A_HOST = 128
HANDSHAKE_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 75.0
SENDFILE_BYTES = 8 << 20  # between two looks whether the file is unchanged
BACKLOG = 256
POLL_S = 0.1


@asynccontextmanager
async def serving(
    sock: socket.socket,
    shelf: Shelf,
    office: TicketOffice,
    context: ssl.SSLContext | None,
    uploads: Uploads,
    door: Door | None = None,
) -> AsyncIterator[int]:
    """Serve the peer plane on a bound socket for the length of the block; yields the port.

    Args:
        office: Knows whose bearer a request shows, and what to answer who asks for have-maps.
        context: None for a plain plane.
        uploads: Counts what is sent, and gives each piece its turn.
        door: Tells which peers are turned away; None for none.
    """
    server = _PlaneServer(sock, shelf, office, context, uploads, door or Door())
    thread = threading.Thread(
        target=server.serve_forever, args=(POLL_S,), name="peer-plane", daemon=True
    )
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(thread.join)


class _PlaneServer(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = BACKLOG

    def __init__(
        self,
        sock: socket.socket,
        shelf: Shelf,
        office: TicketOffice,
        context: ssl.SSLContext | None,
        uploads: Uploads,
        door: Door,
    ) -> None:
        super().__init__(sock.getsockname()[:2], _Request, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.server_activate()
        self.shelf = shelf
        self.answers = ContentAnswers(shelf)
        self.office = office
        self.context = context
        self.uploads = uploads
        self.door = door
        self._lock = threading.Lock()
        self._open: dict[socket.socket, str] = {}
        self._by_host: Counter[str] = Counter()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Count the connection; one too many is closed before it costs a thread."""
        host = str(client_address[0])
        with self._lock:
            if len(self._open) >= MAX_CONNECTIONS or self._by_host[host] >= MAX_CONNECTIONS_A_HOST:
                return False
            self._open[request] = host
            self._by_host[host] += 1
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            host = self._open.pop(request, None)
            if host is not None:
                self._by_host[host] -= 1
                if not self._by_host[host]:
                    del self._by_host[host]
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Peers leave in the middle, speak no TLS or no HTTP: nothing a user has to see.
        log.debug("peer plane connection failed", exc_info=True)

    def stop(self) -> None:
        """Stop accepting and cut what is open."""
        self.shutdown()
        self.server_close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class _Request(BaseHTTPRequestHandler):
    """All requests of one connection, in its own thread."""

    protocol_version = "HTTP/1.1"
    server_version = "mirrornode"
    sys_version = ""
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True
    _buffer: ClassVar[memoryview] = memoryview(b"")
    _peer = ""  # whose bearer the request shows

    @property
    def _plane(self) -> _PlaneServer:
        return cast("_PlaneServer", self.server)

    def setup(self) -> None:
        context = self._plane.context
        tune_for_lan(self.request)
        if context is not None:
            self.request.settimeout(HANDSHAKE_TIMEOUT_S)
            # The server keeps the plain socket to count and to close; the descriptor is shared.
            self.request = context.wrap_socket(
                self.request.dup(), server_side=True, suppress_ragged_eofs=True
            )
        super().setup()

    def finish(self) -> None:
        super().finish()
        if self._plane.context is not None:
            self.request.close()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if not self._is_admitted():
            return
        if parts.path == sealed.PATH and isinstance(self.request, ssl.SSLSocket):
            self._seal()
            return
        with self._plane.door.fetching(self._peer):
            self._answer_get(parts)

    do_HEAD = do_GET

    def _answer_get(self, parts: SplitResult) -> None:
        cid_text = parts.path.removeprefix("/ipfs/")
        if parts.path.startswith(tickets.ARRIVING_PATH):
            self._send_arriving(parts.path.removeprefix(tickets.ARRIVING_PATH))
            return
        if not parts.path.startswith("/ipfs/") or "/" in cid_text:
            self._send(refusal(404, "there is nothing under this path"))
            return
        format_ = parse_qs(parts.query).get("format", [""])[0]
        headers = cast("Any", self.headers)  # a Message: looked up by name like a mapping
        self._send(self._plane.answers.get(cid_text, format_, headers))

    def do_POST(self) -> None:
        if not self._is_admitted():
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > batch.MAX_REQUEST_BYTES:
            self.close_connection = True  # the body is not read
            self._send(refusal(413, "a request names its length and is small"))
            return
        body = self.rfile.read(int(length))
        try:
            if self.path == batch.PATH:
                with self._plane.door.fetching(self._peer):
                    self._send_batch(batch.decode_request(body))
            elif self.path == tickets.HAVE_PATH:
                have = self._plane.office.have(self._peer, tickets.decode_request(body))
                self._send(Answer(200, {"Content-Type": "application/json"}, have))
            else:
                self._send(refusal(404, "there is nothing under this path"))
        except RemoteProtocolError as exc:
            self._send(refusal(400, str(exc)))

    def _seal(self) -> None:
        """Leave TLS for sealed frames, if that is what is asked for."""
        is_plain_get = self.command == "GET" and self.request_version == "HTTP/1.1"
        if not is_plain_get or self.headers.get("Upgrade", "").strip() != sealed.PROTOCOL:
            upgrade = {"Upgrade": sealed.PROTOCOL}
            self._send(refusal(426, f"GET this with Upgrade: {sealed.PROTOCOL}", upgrade))
            return
        try:
            theirs = sealed.decode_secret(self.headers.get(sealed.SECRET_HEADER, ""))
        except RemoteProtocolError as exc:
            self._send(refusal(400, str(exc)))
            return
        ours = secrets.token_bytes(sealed.SECRET_BYTES)
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", sealed.PROTOCOL)
        self.send_header(sealed.SECRET_HEADER, sealed.encode_secret(ours))
        self.end_headers()
        # The same socket without its TLS; nothing of TLS is sent any more, not even a goodbye.
        sock = socket.socket(fileno=self.request.detach())
        sock.settimeout(self.timeout)
        stream = SealedStream(sock, theirs, ours, is_asker=False)
        self.rfile.close()
        self.request = self.connection = stream
        self.rfile, self.wfile = stream.makefile("rb"), stream.writer()
        self.close_connection = False

    def _send_batch(self, cids: list[Cid]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", CAR_TYPE)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces: list[bytes] = []
        size = sent = 0
        self._plane.shelf.note_served()
        for cid in cids:
            block = self._plane.shelf.read_block(cid)
            if block is None:
                break
            pieces += (section_head(cid, len(block)), block)
            size += len(block)
            if size >= WRITE_BYTES:
                self._write_chunk(pieces, is_small=sent + size <= SMALL_BYTES)
                sent += size
                pieces, size = [], 0
        if pieces:
            self._write_chunk(pieces, is_small=sent + size <= SMALL_BYTES)
        self.wfile.write(b"0\r\n\r\n")

    def _write_chunk(self, pieces: list[bytes], *, is_small: bool) -> None:
        size = sum(map(len, pieces))
        self._write(b"".join([b"%x\r\n" % size, *pieces, b"\r\n"]), is_small=is_small)

    def _write(self, payload: bytes, *, is_small: bool) -> None:
        """Send content from memory, in pieces when uploads are limited."""
        uploads = self._plane.uploads
        view = memoryview(payload)
        while view:
            piece = view[: uploads.piece_bytes or len(view)]
            uploads.wait(self._peer, len(piece), is_small=is_small)
            self.wfile.write(piece)
            uploads.note_sent(len(piece), peer=self._peer)
            view = view[len(piece) :]

    def _is_admitted(self) -> bool:
        peer = self._plane.office.admits(self.headers.get("Authorization", ""))
        if peer is not None and self._plane.door.admits(peer):
            self._peer = peer
            return True
        if self.command == "POST":
            self.close_connection = True  # the body is not read
        if peer is not None:
            later = {"Retry-After": str(RETRY_AFTER_S)}
            self._send(refusal(503, "this node is ending; ask another one", later))
        else:
            self._send(refusal(401, "show a bearer", {"WWW-Authenticate": "Bearer"}))
        return False

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 304:
                self.send_header("Content-Length", str(answer.size_bytes))
            self.end_headers()
            if self.command == "HEAD" or answer.status == 304:
                return
            if answer.file is None:
                self._write(answer.body, is_small=answer.size_bytes <= SMALL_BYTES)
            else:
                self._send_file(answer.file, *answer.run)
        finally:
            if answer.file is not None:
                os.close(answer.file.descriptor)

    def _send_file(self, opened: OpenFile, start: int, stop: int) -> None:
        answers, sock, uploads = self._plane.answers, self.request, self._plane.uploads
        is_small = stop - start <= SMALL_BYTES
        if self._plane.context is None:
            most = uploads.piece_bytes or SENDFILE_BYTES
            with open(opened.descriptor, "rb", buffering=0, closefd=False) as file:
                while start < stop:
                    size = min(most, stop - start)
                    uploads.wait(self._peer, size, is_small=is_small)
                    answers.check_unchanged(opened)
                    count = sock.sendfile(file, start, size)
                    self._check_sent(opened, count)
                    uploads.note_sent(count, peer=self._peer)
                    start += count
            return
        if not self._buffer:
            self._buffer = page_aligned(PIECE_BYTES)  # type: ignore[misc]  # one a connection
        most = uploads.piece_bytes or PIECE_BYTES
        while start < stop:
            view = self._buffer[: min(most, stop - start)]
            uploads.wait(self._peer, len(view), is_small=is_small)
            answers.check_unchanged(opened)
            count = os.preadv(opened.descriptor, [view], start)
            self._check_sent(opened, count)
            sock.sendall(view[:count])
            uploads.note_sent(count, peer=self._peer)
            start += count

    def _send_arriving(self, cid_text: str) -> None:
        """Send a part of what an origin brings as it comes; a cut says that it will not come."""
        headers = cast("Any", self.headers)
        try:
            claim = self._plane.shelf.claims.find(Cid.parse(cid_text).multihash)
            run = parse_range(headers.get("Range"), claim.size_bytes) if claim else None
        except (ContentError, RangeNotSatisfiable) as exc:
            self._send(refusal(400, str(exc)))
            return
        if claim is None or run is None:  # all of it is here by now, or nothing is
            self._send(self._plane.answers.get(cid_text, "", headers))
            return
        start, stop = run
        self.send_response(206)
        self.send_header("Content-Range", content_range(start, stop, claim.size_bytes))
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        descriptor = -1
        try:
            while self.command == "GET" and start < stop:
                end = min(stop, claim.wait(start))
                if end == start or claim.arrival is None:
                    raise ConnectionResetError("the file does not come")
                if descriptor < 0:
                    descriptor = claim.arrival.open_part()
                opened = OpenFile(claim.cid, descriptor, claim.size_bytes, None, None, Path())
                self._send_file(opened, start, end)
                start = end
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _check_sent(self, opened: OpenFile, count: int) -> None:
        if not count:
            self._plane.answers.withdraw(opened)
            raise ConnectionResetError("the file shrank while it was sent")

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: they would tell who asked for what."""
