"""The script API: `Client` for plain programs, `AsyncClient` for asyncio ones.

Both ask the daemon of their home over its control socket, and do the work in this process when
none runs. Every call raises only `MirrorError`s.

    from mirrornode import Client

    client = Client()
    added = client.add(["model.safetensors"])[0]
    got = client.get(added.cid, "copy.safetensors", progress=print)
    print(got.path, got.bytes_by_source)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mirrornode.calls.alerts import AlertCalls
from mirrornode.calls.cars import CarCalls
from mirrornode.calls.content import ContentCalls
from mirrornode.calls.keep import KeepCalls
from mirrornode.calls.names import NameCalls
from mirrornode.calls.sync import SyncCalls
from mirrornode.calls.views import ViewCalls

if TYPE_CHECKING:
    from mirrornode.calls.caller import PathLike
    from mirrornode.config import Config
    from mirrornode.events import Added, Event, Got, Progress

T = TypeVar("T")


class Client(ContentCalls, ViewCalls, NameCalls, CarCalls, KeepCalls, SyncCalls, AlertCalls):
    """The verbs of one home, blocking.

    Args:
        home: The node's home; None for `$MIRRORNODE_HOME` or the user's data directory.
        config: Settings already loaded; overrides `home`.

    Raises:
        ConfigError: The home's `config.toml` or the environment is wrong.
    """


class AsyncClient:
    """The verbs of one home for asyncio; each call runs in a thread of its own.

    Cancelling a call leaves its thread to end by itself at its next progress report.
    """

    def __init__(self, home: PathLike | None = None, *, config: Config | None = None) -> None:
        """As `Client`."""
        self._client = Client(home, config=config)

    async def add(
        self, paths: Sequence[PathLike], *, progress: Progress | None = None, **options: Any
    ) -> list[Added]:
        """As `Client.add`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.add(paths, progress=told, **options), progress
        )

    async def get(
        self,
        target: str,
        dest: PathLike | None = None,
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> Got:
        """As `Client.get`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.get(target, dest, progress=told, **options), progress
        )

    async def export(
        self, target: str, output: PathLike, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.export`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.export(target, output, progress=told, **options), progress
        )

    async def import_cars(
        self,
        paths: Sequence[PathLike],
        dest: PathLike | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """As `Client.import_cars`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.import_cars(paths, dest, progress=told), progress
        )

    async def share_hub_cache(
        self, path: PathLike | None = None, *, progress: Progress | None = None
    ) -> dict[str, Any]:
        """As `Client.share_hub_cache`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.share_hub_cache(path, progress=told), progress
        )

    async def ls(self) -> list[dict[str, Any]]:
        """As `Client.ls`."""
        return await asyncio.to_thread(self._client.ls)

    async def ls_hub(self, target: str = "hf:") -> list[dict[str, Any]]:
        """As `Client.ls_hub`."""
        return await asyncio.to_thread(self._client.ls_hub, target)

    async def status(self) -> dict[str, Any]:
        """As `Client.status`."""
        return await asyncio.to_thread(self._client.status)

    async def publish(
        self, target: str, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.publish`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.publish(target, progress=told, **options), progress
        )

    async def publications(self) -> list[dict[str, Any]]:
        """As `Client.publications`."""
        return await asyncio.to_thread(self._client.publications)

    async def unpublish(self, key: str) -> dict[str, Any]:
        """As `Client.unpublish`."""
        return await asyncio.to_thread(self._client.unpublish, key)

    async def history(self, **options: Any) -> list[dict[str, Any]]:
        """As `Client.history`."""
        return await asyncio.to_thread(lambda: self._client.history(**options))

    async def peers(self) -> list[dict[str, Any]]:
        """As `Client.peers`."""
        return await asyncio.to_thread(self._client.peers)

    async def mirrors(
        self, urls: Sequence[str] = (), *, progress: Progress | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """As `Client.mirrors`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.mirrors(urls, progress=told, **options), progress
        )

    async def verify(
        self, target: str | None = None, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.verify`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.verify(target, progress=told, **options), progress
        )

    async def pin(
        self, target: str, *, progress: Progress | None = None, **options: Any
    ) -> dict[str, Any]:
        """As `Client.pin`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.pin(target, progress=told, **options), progress
        )

    async def unpin(self, target: str, *, name: str | None = None) -> dict[str, Any]:
        """As `Client.unpin`."""
        return await asyncio.to_thread(lambda: self._client.unpin(target, name=name))

    async def unshare(self, target: PathLike) -> dict[str, Any]:
        """As `Client.unshare`."""
        return await asyncio.to_thread(self._client.unshare, target)

    async def pins(self) -> list[dict[str, Any]]:
        """As `Client.pins`."""
        return await asyncio.to_thread(self._client.pins)

    async def gc(self, **options: Any) -> dict[str, Any]:
        """As `Client.gc`."""
        return await asyncio.to_thread(lambda: self._client.gc(**options))

    async def sync(
        self, targets: Sequence[str] = (), *, progress: Progress | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """As `Client.sync`; `progress` is called in the event loop."""
        return await _in_thread(
            lambda told: self._client.sync(targets, progress=told, **options), progress
        )

    async def syncs(self) -> list[dict[str, Any]]:
        """As `Client.syncs`."""
        return await asyncio.to_thread(self._client.syncs)

    async def alerts(self) -> list[dict[str, Any]]:
        """As `Client.alerts`."""
        return await asyncio.to_thread(self._client.alerts)

    async def test_alerts(self) -> list[dict[str, Any]]:
        """As `Client.test_alerts`."""
        return await asyncio.to_thread(self._client.test_alerts)

    async def doctor(self) -> list[dict[str, Any]]:
        """As `Client.doctor`."""
        return await asyncio.to_thread(self._client.doctor)


async def _in_thread(work: Callable[[Progress], T], progress: Progress | None) -> T:
    """Run a blocking call; its events go to the event loop, a cancel ends it at its next event."""
    from mirrornode.mirror.in_thread import in_thread

    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        if progress is not None:
            loop.call_soon_threadsafe(progress, event)

    return await in_thread(work, tell)
