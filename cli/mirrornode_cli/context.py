"""What the verbs need from below, behind one factory, so that a verb imports it only when it runs.

The heavy parts (asyncio servers, libp2p) load inside the methods: `--help` never pays for them.
Tests pass a factory of their own to `main`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

if TYPE_CHECKING:
    import asyncio

    from mirrornode.config import Config
    from mirrornode.events import Added, Got, Progress

Ready = Callable[[Mapping[str, Any]], None]
"""Takes the addresses of a program that is now ready."""


class Work(Protocol):
    """The client's calls that read or write content."""

    def add(
        self,
        paths: Sequence[str | Path],
        *,
        name: str | None = None,
        profile: str = "unixfs-v1-2025",
        chunker: str | None = None,
        raw_leaves: bool | None = None,
        cid_version: int | None = None,
        max_links: int | None = None,
        wrap: bool = False,
        only_hash: bool = False,
        copy: bool = False,
        hidden: bool = False,
        progress: Progress | None = None,
    ) -> list[Added]:
        """Make files fetchable by content, where they lie."""
        ...

    def get(
        self,
        target: str,
        dest: str | Path | None = None,
        *,
        mirrors: Sequence[str] = (),
        peers: Sequence[str] = (),
        timeout_s: float = 30.0,
        download_limit: int = 0,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Got:
        """Fetch a target and verify every byte."""
        ...

    def mirrors(
        self,
        urls: Sequence[str] = (),
        *,
        sample: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Measure mirrors."""

    def share_hub_cache(
        self, path: str | Path | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Share what the Hub's clients have fetched, in place."""
        ...

    def verify(
        self, target: str | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Read shared files again and compare them with their CIDs."""
        ...


class Cars(Protocol):
    """The client's calls for CAR files."""

    def export(
        self,
        target: str,
        output: str | Path,
        *,
        force: bool = False,
        partial: bool = False,
        names: bool = True,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Write a target into a CAR file."""

    def import_cars(
        self,
        paths: Sequence[str | Path],
        dest: str | Path | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Bring what CAR files hold into files."""


class Views(Protocol):
    """The client's calls that only look."""

    def ls(self) -> list[dict[str, Any]]:
        """Return what this home shares."""
        ...

    def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        """Return what is known of repos of the Hub."""
        ...

    def status(self) -> dict[str, Any]:
        """Return the state of the node."""
        ...

    def doctor(self) -> list[dict[str, Any]]:
        """Return what could be better, one finding each."""
        ...

    def peers(self) -> list[dict[str, Any]]:
        """Return the peers the node is connected to."""
        ...


class Names(Protocol):
    """The client's calls for names."""

    def publish(
        self,
        target: str,
        *,
        key: str = "self",
        lifetime_s: float = 48 * 3600.0,
        ttl_s: float = 300.0,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Let a name mean a target."""

    def publications(self) -> list[dict[str, Any]]:
        """Return the names that are published."""

    def unpublish(self, key: str) -> dict[str, Any]:
        """Publish a name no more."""


class Past(Protocol):
    """The client's calls that look back."""

    def history(
        self, *, since_s: float | None = None, failed: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return downloads, the newest first."""
        ...


class Keeping(Protocol):
    """The client's calls that keep and free."""

    def pin(
        self,
        target: str,
        *,
        name: str = "",
        replicas: int = 0,
        peers: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Keep a target, fetched first unless it is here."""
        ...

    def unpin(self, target: str, *, name: str | None = None) -> dict[str, Any]:
        """Take back pins of a target."""
        ...

    def pins(self) -> list[dict[str, Any]]:
        """Return all pins."""
        ...

    def gc(self, *, dry_run: bool = False, keep_free_bytes: int | None = None) -> dict[str, Any]:
        """Free room."""
        ...

    def unshare(self, target: str) -> dict[str, Any]:
        """Stop sharing a path, or whatever has a CID."""
        ...


class Syncing(Protocol):
    """Keeping in step, as the verbs see it."""

    def sync(
        self,
        targets: Sequence[str] = (),
        *,
        from_node: str = "",
        dry_run: bool = False,
        delete: bool = False,
        token: str | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Bring targets up to date."""
        ...

    def syncs(self) -> list[dict[str, Any]]:
        """Return what is kept in step."""
        ...


class Warned(Protocol):
    """The client's calls about alerts."""

    def alerts(self) -> list[dict[str, Any]]:
        """Return what is wrong now."""
        ...

    def test_alerts(self) -> list[dict[str, Any]]:
        """Send a test message to every webhook."""
        ...


class ClientPort(Work, Names, Cars, Views, Past, Keeping, Syncing, Warned, Protocol):
    """`mirrornode.client.Client` as the verbs see it."""


class Factory:
    """Opens the real things."""

    def client(self, config: Config) -> ClientPort:
        """Return a client of the home in `config`."""
        from mirrornode.client import Client

        return Client(config.home, config=config)

    def serve(
        self,
        config: Config,
        ready: Ready,
        stop: asyncio.Event,
        *,
        at_once: asyncio.Event,
        tell: Callable[[str], None],
    ) -> Awaitable[None]:
        """Return the node's main task; once `stop` is set it finishes what is under way and ends.

        Args:
            at_once: Ends it without waiting.
            tell: Told in a line what is waited for.
        """
        from mirrornode.daemon import serve

        return serve(config, ready=ready, stop=stop, at_once=at_once, tell=tell)

    def bootstrap(
        self, config: Config, ready: Ready, stop: asyncio.Event, *, mdns: bool
    ) -> Awaitable[None]:
        """Return the bootstrap program's main task; it ends soon after `stop` is set."""
        from mirrornode_bootstrap.main import run_bootstrap

        return run_bootstrap(config, ready=ready, stop=stop, mdns=mdns)


class Interrupted(Exception):
    """The user stopped a verb; the message says what is kept and how to go on."""


def factory_of(context: typer.Context) -> Factory:
    """Return the factory that `main` put into the command's context."""
    factory = context.obj
    assert isinstance(factory, Factory)
    return factory
