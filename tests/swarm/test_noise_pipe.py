"""Sealed bytes in large steps: any cut of the wire gives the same bytes, damage is noticed."""

from __future__ import annotations

import random
from typing import cast

import pytest
import trio
import trio.testing
from cryptography.exceptions import InvalidTag
from libp2p.io.exceptions import ConnectionClosedError, IOException
from libp2p.security.secure_session import SecureSession

from mirrornode.swarm.noise_pipe import MAX_PLAIN_BYTES, NoisePipe
from swarm.islands import in_trio

TAG = b"0123456789abcdef"


class Cipher:
    """Seals by appending a tag; what is asked of a cipher state."""

    def encrypt_with_ad(self, ad: None, data: memoryview) -> bytes:
        return bytes(data) + TAG

    def decrypt_with_ad(self, ad: None, data: memoryview) -> bytes:
        if bytes(data[-16:]) != TAG:
            raise InvalidTag
        return bytes(data[:-16])


class Session:
    """What a pipe takes over of a session."""

    is_initiator = True
    cipher_state_decrypt = cipher_state_encrypt = Cipher()

    @property
    def conn(self) -> Session:
        return self

    noise_state = noise_protocol = property(lambda self: self)


def pipe_over(stream: object) -> NoisePipe:
    return NoisePipe(cast("SecureSession", Session()), cast("trio.SocketStream", stream))


class Chopped:
    """A socket that gives what it has in pieces of random size."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data = data
        self._random = random.Random(seed)

    async def receive_some(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        size = self._random.choice([1, 2, 3, 50, 5000, max_bytes])
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def sealed(*messages: bytes) -> bytes:
    return b"".join((len(m) + 16).to_bytes(2, "big") + m + TAG for m in messages)


@pytest.mark.parametrize("seed", range(8))
def test_bytes_are_the_same_however_the_wire_and_the_reads_are_cut(seed: int) -> None:
    @in_trio
    async def scene() -> None:
        rng = random.Random(seed)
        messages = [rng.randbytes(rng.choice([0, 1, 12, 900, 40_000])) for _ in range(30)]
        whole = b"".join(messages)
        pipe, got = pipe_over(Chopped(sealed(*messages), seed)), b""
        while len(got) < len(whole):
            size = min(rng.choice([1, 12, 700, 50_000]), len(whole) - len(got))
            piece = await pipe.read(size)
            assert len(piece) == size
            got += piece
        assert got == whole
        with pytest.raises(ConnectionClosedError):
            await pipe.read(1)

    scene()


@in_trio
async def test_read_without_a_size_gives_what_comes_next() -> None:
    pipe = pipe_over(Chopped(sealed(b"one", b"two"), 1))
    assert await pipe.read() == b"one"
    assert await pipe.read(2) == b"tw"
    assert await pipe.read() == b"o"


@in_trio
async def test_damaged_message_is_an_error_of_the_connection() -> None:
    wire = bytearray(sealed(b"hello"))
    wire[-1] ^= 1
    with pytest.raises(IOException):
        await pipe_over(Chopped(bytes(wire), 2)).read(5)
    with pytest.raises(IOException):
        await pipe_over(Chopped(b"\x00\x00", 2)).read(5)


@in_trio
async def test_large_write_is_cut_into_messages_and_leaves_at_once() -> None:
    near, far = trio.testing.memory_stream_pair()
    await pipe_over(near).write(bytes(MAX_PLAIN_BYTES + 5))
    wire = bytes(await far.receive_some())
    assert wire == sealed(bytes(MAX_PLAIN_BYTES), bytes(5))
