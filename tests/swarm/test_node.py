"""Whole swarms on loopback, as the rest of the node uses them: dial, request, serve."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from mirrornode import __version__
from mirrornode.errors import (
    Blame,
    RemoteProtocolError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.swarm import island
from mirrornode.swarm.node import PeerLink
from support.waiting import until
from swarm.swarms import (
    DEAD,
    STRANGER,
    Opener,
    connections_to,
    echo,
    gone,
    linked,
    next_peer,
)


async def test_dial_when_peer_is_there_then_both_know_each_other(opened: Opener) -> None:
    client, server = await opened(), await opened()
    server.serve("/echo", echo)
    seen_by_server = next_peer(server, lambda link: True)
    await client.dial(server.peer_id, server.addresses())

    link = client.link(server.peer_id)
    assert link is not None
    assert [link] == client.links()
    assert (link.peer_id, link.outbound) == (server.peer_id, True)
    assert link.agent == f"mirrornode/{__version__}"
    assert "/echo" in link.protocols
    assert link.protocols == server.protocols()
    assert f"{link.address}/p2p/{server.peer_id}" in server.addresses()
    assert link.listen_addresses == (link.address,)

    inbound = await seen_by_server
    assert (inbound.peer_id, inbound.outbound) == (client.peer_id, False)
    assert f"{inbound.listen_addresses[0]}/p2p/{client.peer_id}" in client.addresses()


async def test_round_trip_when_a_ping_was_answered_then_it_is_known(opened: Opener) -> None:
    client, server = await linked(opened)
    await until(lambda: client.round_trip_s(server.peer_id) is not None)
    round_trip_s = client.round_trip_s(server.peer_id)
    assert round_trip_s is not None
    assert round_trip_s > 0
    assert client.round_trip_s(STRANGER) is None
    left = gone(client)
    await client.disconnect(server.peer_id)
    await left
    assert client.round_trip_s(server.peer_id) is None


async def test_dial_when_connected_then_returns_without_addresses(opened: Opener) -> None:
    client, server = await linked(opened)
    await client.dial(server.peer_id, [])


async def test_dial_when_first_addresses_are_dead_then_next_is_used(opened: Opener) -> None:
    client, server = await opened(), await opened()
    addresses = ["/ip4/1.2.3.4/udp/1/quic-v1", DEAD, "nonsense", *server.addresses()]
    await client.dial(server.peer_id, addresses)
    assert client.link(server.peer_id) is not None


async def test_dial_when_it_failed_before_then_tries_again_at_once(opened: Opener) -> None:
    client, server = await opened(), await opened()
    with pytest.raises(SourceGone, match=DEAD):
        await client.dial(server.peer_id, [DEAD])
    await client.dial(server.peer_id, server.addresses())


async def test_dial_when_another_peer_answers_then_source_is_blamed(opened: Opener) -> None:
    client, server = await opened(), await opened()
    addresses = [text.rpartition("/p2p/")[0] for text in server.addresses()]
    with pytest.raises(SourceGone, match="another peer answers there") as caught:
        await client.dial(STRANGER, addresses)
    assert caught.value.blame is Blame.SOURCE
    assert caught.value.source_id == STRANGER
    assert client.links() == []


async def test_dial_when_no_libp2p_answers_then_source_gone(opened: Opener) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    client = await opened()
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as web:
        port = web.sockets[0].getsockname()[1]
        with pytest.raises(SourceGone, match="no libp2p handshake"):
            await client.dial(STRANGER, [f"/ip4/127.0.0.1/tcp/{port}"])


async def test_dial_when_it_is_itself_then_refused(opened: Opener) -> None:
    client = await opened()
    with pytest.raises(SourceGone, match="itself"):
        await client.dial(client.peer_id, client.addresses())
    with pytest.raises(SourceGone, match="no address"):  # a stale record with our own address
        await client.dial(STRANGER, [client.addresses()[0].rpartition("/p2p/")[0]])


async def test_dial_when_time_is_up_then_source_gone(opened: Opener) -> None:
    client = await opened()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and says nothing
        address = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}"
        with pytest.raises(SourceGone, match=r"within 0\.1 s"):
            await client.dial(STRANGER, [address], timeout_s=0.1)


async def test_dial_when_both_do_at_once_then_one_usable_link_each(opened: Opener) -> None:
    one, two = await opened(), await opened()
    for swarm in (one, two):
        swarm.serve("/echo", echo)
    await asyncio.gather(
        one.dial(two.peer_id, two.addresses()), two.dial(one.peer_id, one.addresses())
    )
    assert await one.request(two.peer_id, "/echo", b"ab") == b"ba"
    assert await two.request(one.peer_id, "/echo", b"ab") == b"ba"
    assert (len(one.links()), len(two.links())) == (1, 1)


async def test_dial_when_both_did_at_once_then_the_spare_connection_is_closed(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(island, "RETIRE_CHECK_S", 0.05)
    one, two = await opened(), await opened()
    for swarm in (one, two):
        swarm.serve("/echo", echo)
    lost = gone(one)
    await asyncio.gather(
        one.dial(two.peer_id, two.addresses()), two.dial(one.peer_id, one.addresses())
    )
    while connections_to(one, two) > 1:
        assert await one.request(two.peer_id, "/echo", b"ab") == b"ba"
        assert await two.request(one.peer_id, "/echo", b"ab") == b"ba"
    assert await one.request(two.peer_id, "/echo", b"ab") == b"ba"
    assert await two.request(one.peer_id, "/echo", b"ab") == b"ba"
    assert not lost.done()


async def test_dial_when_many_ask_for_one_peer_then_one_connection(opened: Opener) -> None:
    client, server = await opened(), await opened()
    await asyncio.gather(*(client.dial(server.peer_id, server.addresses()) for _ in range(20)))
    assert connections_to(server) == 1


async def test_request_when_answered_then_each_gets_its_own(opened: Opener) -> None:
    client, server = await linked(opened)
    requests = [b"%d" % n for n in range(200)]
    answers = await asyncio.gather(
        *(client.request(server.peer_id, "/echo", each) for each in requests)
    )
    assert answers == [each[::-1] for each in requests]


async def test_request_when_megabytes_then_whole(opened: Opener) -> None:
    client, server = await opened(), await opened()
    server.serve("/big", echo, max_request_bytes=4 << 20)
    await client.dial(server.peer_id, server.addresses())
    payload = bytes(range(256)) * (3 << 12)
    assert await client.request(server.peer_id, "/big", payload) == payload[::-1]


async def test_request_when_protocol_is_unknown_then_refused(opened: Opener) -> None:
    client, server = await linked(opened)
    with pytest.raises(SourceRefused, match="does not speak /other"):
        await client.request(server.peer_id, "/other", bytes(5000))
    assert await client.request(server.peer_id, "/echo", b"ab") == b"ba"


async def test_request_when_not_connected_then_source_gone(opened: Opener) -> None:
    client = await opened()
    with pytest.raises(SourceGone, match="not connected"):
        await client.request(STRANGER, "/echo", b"")


async def test_request_when_responder_has_no_answer_then_refused(opened: Opener) -> None:
    async def silent(peer_id: str, request: bytes) -> None:
        return None

    client, server = await linked(opened)
    server.serve("/silent", silent)
    with pytest.raises(SourceRefused, match="no answer"):
        await client.request(server.peer_id, "/silent", b"")


async def test_request_when_responder_raises_then_only_that_stream_ends(
    opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(peer_id: str, request: bytes) -> bytes:
        raise LookupError("a bug")

    client, server = await linked(opened)
    server.serve("/fail", fail)
    with pytest.raises(SourceGone):
        await client.request(server.peer_id, "/fail", b"")
    assert "LookupError: a bug" in caplog.text
    assert server.refusals() == {"responder failed": 1}
    assert await client.request(server.peer_id, "/echo", b"ab") == b"ba"


async def test_request_when_responder_hangs_then_too_slow(opened: Opener) -> None:
    async def hang(peer_id: str, request: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    client, server = await linked(opened)
    server.serve("/hang", hang)
    with pytest.raises(SourceTooSlow, match="/hang"):
        await client.request(server.peer_id, "/hang", b"", timeout_s=0.05)
    assert await client.request(server.peer_id, "/echo", b"ab") == b"ba"


async def test_request_when_frames_are_oversize_then_the_sender_is_blamed(opened: Opener) -> None:
    client, server = await linked(opened)
    with pytest.raises(RemoteProtocolError, match="at most 10"):
        await client.request(server.peer_id, "/echo", bytes(11), max_response_bytes=10)
    with pytest.raises(SourceGone):
        await client.request(server.peer_id, "/echo", bytes(64 * 1024 + 1))
    assert server.refusals()["stream reset"] == 1
    assert await client.request(server.peer_id, "/echo", b"ab") == b"ba"


async def test_serve_when_slots_are_taken_then_others_wait(opened: Opener) -> None:
    running, most = 0, 0
    full, release = asyncio.Event(), asyncio.Event()

    async def count(peer_id: str, request: bytes) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            full.set()
        await release.wait()
        running -= 1
        return b""

    client, server = await linked(opened)
    server.serve("/count", count, max_concurrent=2)
    requests = [
        asyncio.create_task(client.request(server.peer_id, "/count", b"")) for _ in range(6)
    ]
    await full.wait()
    release.set()
    await asyncio.gather(*requests)
    assert most == 2


@pytest.mark.parametrize("is_known", [True, False])
async def test_request_when_messages_go_ahead_then_all_are_read_before_the_answer(
    opened: Opener, is_known: bool
) -> None:
    notes = [b"note %d" % number for number in range(100)]
    got: list[bytes] = []

    async def take(peer_id: str, request: bytes) -> bytes | None:
        got.append(request)
        return None if request.startswith(b"note") else b"%d" % len(got)

    client, server = await linked(opened)
    protocol = "/echo" if is_known else "/note"
    server.serve(protocol, take)
    await server.dial(client.peer_id, client.addresses())  # what it was told before has happened
    assert await client.request(server.peer_id, protocol, b"how many?", ahead=notes) == b"101"
    assert got == [*notes, b"how many?"]


async def test_request_when_more_goes_ahead_than_a_window_holds_then_all_of_it_is_read(
    opened: Opener,
) -> None:
    sizes: list[int] = []

    async def take(peer_id: str, request: bytes) -> bytes | None:
        sizes.append(len(request))
        return b"done" if request == b"end" else None

    client, server = await linked(opened)
    server.serve("/echo", take)
    notes = [bytes(20_000)] * 40
    assert await client.request(server.peer_id, "/echo", b"end", ahead=notes) == b"done"
    assert sizes == [20_000] * 40 + [3]


async def test_request_when_one_ahead_is_too_large_then_refused(opened: Opener) -> None:
    client, server = await linked(opened)
    with pytest.raises(SourceGone):
        await client.request(server.peer_id, "/echo", b"x", ahead=[b"y", bytes(70_000)])


async def test_serve_when_already_connected_then_peers_are_told(opened: Opener) -> None:
    client, server = await linked(opened)
    told = next_peer(client, lambda link: "/later" in link.protocols)
    server.serve("/later", echo)
    assert (await told).peer_id == server.peer_id
    link = client.link(server.peer_id)
    assert link is not None
    assert "/later" in link.protocols


async def test_cancel_when_in_the_middle_then_connection_lives(opened: Opener) -> None:
    """The library alone loses the connection at the second of these sixty."""
    client, server = await opened(), await opened()
    server.serve("/big", echo, max_request_bytes=8 << 20)
    await client.dial(server.peer_id, server.addresses())
    link, payload = client.link(server.peer_id), bytes(6 << 20)
    lost = gone(client)
    for step in range(60):
        task = asyncio.create_task(
            client.request(server.peer_id, "/big", payload, max_response_bytes=8 << 20)
        )
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Timeouts cancel inside trio, in the middle of frames.
        with contextlib.suppress(SourceTooSlow):
            await client.request(
                server.peer_id, "/big", payload, timeout_s=0.0005 * step, max_response_bytes=8 << 20
            )
    assert await client.request(server.peer_id, "/big", b"ab") == b"ba"
    assert client.link(server.peer_id) == link
    assert not lost.done()


async def test_disconnect_when_connected_then_both_notice(opened: Opener) -> None:
    client, server = await linked(opened)
    left, was_left = gone(client), gone(server)
    await client.disconnect(server.peer_id)
    assert client.links() == []
    assert await left == server.peer_id
    assert await was_left == client.peer_id
    assert server.links() == []
    await client.disconnect(server.peer_id)
    await client.dial(server.peer_id, server.addresses())
    assert await client.request(server.peer_id, "/echo", b"ab") == b"ba"


async def test_callbacks_when_one_raises_then_others_are_called(
    opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(link: PeerLink) -> None:
        raise LookupError("a bug")

    client, server = await opened(), await opened()
    never: list[PeerLink] = []
    client.on_peer(never.append)()
    client.on_peer(fail)
    told = next_peer(client, lambda link: True)
    await client.dial(server.peer_id, server.addresses())
    assert (await told).peer_id == server.peer_id
    assert never == []
    assert "peer callback failed" in caplog.text
