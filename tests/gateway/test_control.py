"""The control socket: where it lies, what crosses it, and a client that leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirrornode.errors import DiskFull, NoProviders, PathRefused, RemoteProtocolError, TargetError
from mirrornode.events import GetProgress, Note
from mirrornode.gateway.control import Emit, Verb, bind_control, make_control
from mirrornode.gateway.listeners import listening
from mirrornode.wire.control import decode_line, socket_path, to_exception


@asynccontextmanager
async def control(home: Path, **verbs: Verb) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve verbs on the control socket of a home; yields a client of it."""
    home.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test has the loop to itself
    async with listening(make_control(verbs), bind_control(home)) as port:
        assert port == 0
        connector = aiohttp.UnixConnector(str(socket_path(home)))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield session


async def ask(client: aiohttp.ClientSession, verb: str, body: Any) -> list[dict[str, Any]]:
    async with client.post(f"http://localhost/v1/{verb}", json=body) as answer:
        assert answer.status == 200
        return [decode_line(line) async for line in answer.content]


async def test_verb_sends_its_events_and_then_its_result(tmp_path: Path) -> None:
    async def count(fields: Mapping[str, Any], emit: Emit) -> object:
        emit(Note("one"))
        await asyncio.to_thread(emit, Note("two"))  # events come from worker threads too
        return {"to": fields["to"]}

    async with control(tmp_path, count=count) as client:
        lines = await ask(client, "count", {"to": 2})
    assert [line.get("text") for line in lines] == ["one", "two", None]
    assert lines[-1] == {"result": {"to": 2}}


@pytest.mark.parametrize(
    "failure", [NoProviders("nobody has it"), DiskFull(Path("/x"), 5, 1), TargetError("no")]
)
async def test_verb_when_it_fails_then_the_client_gets_that_error(
    tmp_path: Path, failure: Exception
) -> None:
    async def fail(fields: Mapping[str, Any], emit: Emit) -> object:
        raise failure

    async with control(tmp_path, fail=fail) as client:
        (line,) = await ask(client, "fail", {})
    back = to_exception(line["error"])
    assert (type(back), str(back)) == (type(failure), str(failure))


async def test_verb_when_it_has_a_bug_then_one_line_and_the_daemon_lives_on(
    tmp_path: Path,
) -> None:
    async def bug(fields: Mapping[str, Any], emit: Emit) -> object:
        return 1 / int(fields["by"])

    async with control(tmp_path, bug=bug) as client:
        (line,) = await ask(client, "bug", {"by": 0})
        assert "internal error" in line["error"]["message"]
        assert await ask(client, "bug", {"by": 1}) == [{"result": 1.0}]
        (line,) = await ask(client, "bug", ["no object"])
        assert line["error"]["kind"] == "TargetError"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/v1/none", b"{}", 404), ("/v1/noop", b"{", 400), ("/v1/noop", b"\xff", 400),
     ("/v1/noop", b"[" * 200_000, 400), ("/v1/noop", b" " * (5 << 20), 413)],
    ids=["unknown verb", "no json", "no text", "deep", "large"],
)  # fmt: skip
async def test_request_when_malformed_then_its_status(
    tmp_path: Path, path: str, body: bytes, status: int
) -> None:
    async def noop(fields: Mapping[str, Any], emit: Emit) -> object:
        return None

    async with (
        control(tmp_path, noop=noop) as client,
        client.post(f"http://localhost{path}", data=body) as answer,
    ):
        assert answer.status == status


async def test_verb_when_its_client_leaves_then_cancelled(tmp_path: Path) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(fields: Mapping[str, Any], emit: Emit) -> object:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return None

    async with control(tmp_path, wait=wait):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(tmp_path)))
        writer.write(b"POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        await started.wait()
        writer.close()
        await cancelled.wait()
        assert reader


async def test_events_when_the_client_reads_nothing_then_progress_is_dropped(
    tmp_path: Path,
) -> None:
    amount = 20_000
    text = "x" * 1000

    async def flood(fields: Mapping[str, Any], emit: Emit) -> object:
        for number in range(amount):
            emit(GetProgress(text, number, amount, 0, 0.0))
        emit(Note("kept"))
        return "done"

    async with control(tmp_path, flood=flood) as client:
        lines = await ask(client, "flood", {})
    assert len(lines) < amount // 10
    assert lines[-2]["text"] == "kept"
    assert lines[-1] == {"result": "done"}


def test_socket_is_the_users_own_and_replaces_a_leftover(tmp_path: Path) -> None:
    for _ in range(2):  # the second finds the file of the first, as after a crash
        with bind_control(tmp_path) as sock:
            mode = socket_path(tmp_path).stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600
            assert sock.getsockname() == str(socket_path(tmp_path))


def test_socket_when_the_home_is_deep_then_a_short_path_of_the_users(tmp_path: Path) -> None:
    home = tmp_path / ("d" * 120)
    home.mkdir()
    with bind_control(home):
        path = socket_path(home)
        assert not path.is_relative_to(home)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            with pytest.raises(ConnectionRefusedError):
                client.connect(str(path))  # bound, nobody listens yet
    path.unlink()
    path.parent.rmdir()


def test_socket_when_it_cannot_be_made_then_path_refused(tmp_path: Path) -> None:
    (tmp_path / "control.sock").mkdir()
    with pytest.raises(PathRefused):
        bind_control(tmp_path)


def test_answer_when_malformed_then_remote_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_line(json.dumps([1]).encode())
