"""Where `get hf:…` puts files: into the cache of the Hub's clients, or into a plain folder.

Both take files one by one as they arrive, and use what lies there already: it is hashed once and,
when right, not fetched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mirrornode.errors import TargetError
from mirrornode.mirror.hub.cache_layout import blob_path, show_file, snapshot_folder, write_ref
from mirrornode.mirror.hub.cached import known_copy
from mirrornode.mirror.hub.placing import is_same_file, move, place
from mirrornode.store.stamps import FileStamp

if TYPE_CHECKING:
    from mirrornode.mirror.hub.named import Named
    from mirrornode.store.catalog import Catalog
    from mirrornode.wire.hub import HubFile, HubTarget


class Destination(Protocol):
    """Takes the files of one commit. All methods block."""

    @property
    def shown(self) -> Path:
        """What the user is told: the file or folder that was asked for."""

    def copies(self, paths: Sequence[str], file: HubFile) -> Iterator[Path]:
        """Yield files that may hold the content already."""

    def put(self, paths: Sequence[str], file: HubFile, source: Path, *, may_move: bool) -> None:
        """Put verified content under all the paths it has in the repo.

        Args:
            may_move: Nobody is about to open the source by its present name.

        Raises:
            FileChanged: The source is gone.
            StoreError: The place cannot be written.
        """

    def finish(self) -> None:
        """Do what is right only when all files are in their places."""


class Store(Protocol):
    """Where the node keeps files of the Hub, see `HubFiles`."""

    @property
    def folder(self) -> Path: ...
    def place_of(self, file: HubFile) -> Path: ...


class CacheDestination:
    """The cache of the Hub's clients: content once, links to it, and a ref at the end."""

    def __init__(self, catalog: Catalog, cache: Path, named: Named, target: HubTarget) -> None:
        self._catalog = catalog
        self._cache = cache
        self._repo = target.repo
        self._named = named
        self._target = target

    @property
    def shown(self) -> Path:
        return snapshot_folder(self._cache, self._repo, self._named.commit) / self._target.path

    def copies(self, paths: Sequence[str], file: HubFile) -> Iterator[Path]:
        yield _resolved(blob_path(self._cache, self._repo, file.etag))

    def put(self, paths: Sequence[str], file: HubFile, source: Path, *, may_move: bool) -> None:
        blob = blob_path(self._cache, self._repo, file.etag)
        is_right = known_copy(self._catalog, file.etag, _resolved(blob)) is not None
        if not is_right:
            # Content that lies under its own name is nobody's to write into: here, too.
            place(source, blob, shares_inode=source.name == file.etag)
        for path in paths:
            show_file(self._cache, self._repo, self._named.commit, path, file.etag)

    def finish(self) -> None:
        write_ref(self._cache, self._repo, self._target.revision, self._named.commit)


class FolderDestination:
    """A file or folder of the user's: files that nothing else is linked to.

    What the node had brought for itself is moved there, and shared from there.
    """

    def __init__(
        self, catalog: Catalog, output: Path, cache: Path, target: HubTarget, *, is_file: bool
    ) -> None:
        self._catalog = catalog
        self._output = output
        self._cache = cache
        self._target = target
        self._is_file = is_file

    @property
    def shown(self) -> Path:
        return self._output

    def copies(self, paths: Sequence[str], file: HubFile) -> Iterator[Path]:
        yield from map(self._place_of, paths)
        yield _resolved(blob_path(self._cache, self._target.repo, file.etag))

    def put(self, paths: Sequence[str], file: HubFile, source: Path, *, may_move: bool) -> None:
        for path in paths:
            output = self._place_of(path)
            if is_same_file(source, output) and not output.is_symlink():
                continue
            if may_move and self._is_ours(file.etag, source) and move(source, output):
                self._catalog.move_hub_blob(source, output)
                source = output
            else:
                place(source, output, shares_inode=False)

    def finish(self) -> None:
        """Nothing is left to do."""

    def _is_ours(self, etag: str, source: Path) -> bool:
        return any(blob.path == source and blob.is_managed for blob in self._catalog.hub_blob(etag))

    def _place_of(self, path: str) -> Path:
        if self._is_file:
            return self._output
        below = path.removeprefix(f"{self._target.path}/") if self._target.path else path
        return self._output / below


class StoreDestination:
    """The node's own store: what lies in a cache of the user's gets a name there, too.

    So it stays when the cache is emptied; a hard link where that can be, else a copy.
    """

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store

    @property
    def shown(self) -> Path:
        return self._store.folder

    def copies(self, paths: Sequence[str], file: HubFile) -> Iterator[Path]:
        return iter(())

    def put(self, paths: Sequence[str], file: HubFile, source: Path, *, may_move: bool) -> None:
        own = self._store.place_of(file)
        if source == own:
            return
        if known_copy(self._catalog, file.etag, own) is None:
            # Only content that lies under its own name is nobody's to write into.
            place(source, own, shares_inode=source.name == file.etag)
            self._catalog.put_managed_blob_of(file.etag, own, FileStamp.of(own))

    def finish(self) -> None:
        """Nothing is left to do."""


def choose_folder(target: HubTarget, output: Path, *, is_file: bool) -> Path:
    """Return where a target goes that the user gave a place for.

    Raises:
        TargetError: A folder would have to replace a file, or a file a folder.
    """
    if is_file and output.is_dir():
        output = output / target.path.rpartition("/")[2]
        if output.is_dir():
            raise TargetError(f"{output} is a folder; choose another place with -o")
    if not is_file and (output.exists() or output.is_symlink()) and not output.is_dir():
        raise TargetError(f"{target} is a folder, but {output} is a file; choose another with -o")
    return output


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path
