"""The verbs `export` and `import`: from JSON fields to a use case and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirrornode.errors import TargetError
from mirrornode.gateway.fields import field, texts
from mirrornode.mirror.export import ExportRequest, export_car, subject_of
from mirrornode.mirror.hub.export import subject_of_hub
from mirrornode.mirror.import_car import ImportPorts, ImportRequest, import_cars
from mirrornode.wire.hub import is_hub_target

if TYPE_CHECKING:
    from mirrornode.gateway.control import Emit
    from mirrornode.store.catalog import Catalog


def export(catalog: Catalog, fields: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Write a CAR, from JSON fields named as the command's options; blocking."""
    target = field(fields, "target", str)
    if not target:
        raise TargetError("name what to export: a CID, /ipfs/CID[/path] or hf:ORG/NAME[@REV]")
    request = ExportRequest(
        target=target,
        output=_absolute(field(fields, "output", str)),
        force=bool(field(fields, "force", bool)),
        partial=bool(field(fields, "partial", bool)),
        names=field(fields, "names", bool) is not False,
    )
    find = subject_of_hub if is_hub_target(target) else subject_of
    return export_car(catalog, request, find(catalog, target), emit).to_record()


async def import_(ports: ImportPorts, fields: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
    """Import CARs."""
    dest = field(fields, "dest", str)
    request = ImportRequest(
        paths=[_absolute(path) for path in texts(fields, "paths")],
        folder=_absolute(field(fields, "folder", str)),
        destination=Path(dest) if dest else None,
    )
    return (await import_cars(ports, request, emit)).to_record()


def _absolute(text: str | None) -> Path:
    if not text or not text.startswith("/"):
        raise TargetError(f"{text!r} is no absolute path")
    return Path(text)
