"""The catalog: one SQLite file that remembers what this node has and what it was doing.

`Catalog` joins the tables, each in its own module; this module opens it and keeps it true to the
disk. All methods are synchronous and may be called from any thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mirrornode.store.alerts import AlertTable
from mirrornode.store.announcements import AnnouncementTable
from mirrornode.store.blocks import BlockTable
from mirrornode.store.database import Database
from mirrornode.store.files import FileTable
from mirrornode.store.history import HistoryTable
from mirrornode.store.home import make_home
from mirrornode.store.hub import HubTables
from mirrornode.store.keeping import KeepingTable
from mirrornode.store.mirrors import MirrorTable
from mirrornode.store.names import NameTables
from mirrornode.store.pins import PinTable
from mirrornode.store.public_announcements import SweepTable
from mirrornode.store.roots import RootTable
from mirrornode.store.sharing import SharingTable
from mirrornode.store.stamps import MISSING, look
from mirrornode.store.sync import SyncTable
from mirrornode.store.transfers import TransferTable

if TYPE_CHECKING:
    from types import TracebackType

CATALOG_NAME = "catalog.sqlite"


class Catalog(
    BlockTable,
    FileTable,
    RootTable,
    AnnouncementTable,
    SweepTable,
    TransferTable,
    MirrorTable,
    HubTables,
    NameTables,
    HistoryTable,
    PinTable,
    KeepingTable,
    SharingTable,
    SyncTable,
    AlertTable,
):
    """All tables over one database; a context manager that closes it."""

    def __init__(self, home: Path, database: Database) -> None:
        super().__init__(database)
        self.home = home

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def file_size(self) -> int:
        """Return the bytes of the catalog's file, without its log; 0 when it is gone."""
        try:
            return (self.home / CATALOG_NAME).stat().st_size
        except OSError:
            return 0

    def check_readable(self) -> None:
        """Read something.

        Raises:
            MirrorError: As `Database.read`.
        """
        with self._database.read() as connection:
            connection.execute("PRAGMA schema_version").fetchone()

    def check_writable(self) -> None:
        """Take the place of a writer, and write nothing.

        Raises:
            MirrorError: As `Database.write`.
        """
        with self._database.write():
            return

    def close(self) -> None:
        """Close the database; what other threads ask after this raises `CatalogUnusable`."""
        self._database.close()


def open_catalog(home: Path, *, keeps_requests: bool = True) -> Catalog:
    """Open the catalog of a home, both made when missing.

    Args:
        keeps_requests: False: what clients ask for never reaches the disk.

    Raises:
        CatalogUnusable: Damaged, or written by a newer version.
        PathRefused: The operating system denies access.
        HomeLocked: Another process keeps writing to it.
    """
    home = home.absolute()
    make_home(home)
    return Catalog(home, Database(home / CATALOG_NAME, keeps_requests=keeps_requests))


def refresh_states(catalog: Catalog) -> None:
    """Look at every shared file (one stat each) and note which changed, vanished or came back.

    A file that vanished and is back with its old stamp, as on a disk that was away, is served
    again; one that changed needs `add` or `verify`.
    """
    marks: list[tuple[Path, str]] = []
    for file in catalog.all_files():
        found = look(file.path, file.stamp)
        if found == "ok" and file.state == MISSING:
            catalog.restore_file(file, file.stamp)
        elif found not in ("ok", file.state):
            marks.append((file.path, found))
    if marks:
        catalog.mark_files(marks)
