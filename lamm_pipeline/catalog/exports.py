"""The catalog's annotation exports: ZIPs that were taken in."""

from pathlib import Path

from sqlalchemy import select

from lamm_pipeline.catalog.files import FileCatalog, KnownFile
from lamm_pipeline.catalog.models import AnnotationExport


class ExportCatalog(FileCatalog[AnnotationExport]):
    """Reads and writes the annotation exports."""

    row = AnnotationExport
    word = "export"
    unknown = "No annotation export is called {key!r}. Import its file with `lamm import ZIP`, then use the key it prints."

    def found_at(self, path: Path) -> AnnotationExport | None:
        """The export that was found at this path, or None."""
        with self._session() as session:
            return session.scalar(select(AnnotationExport).where(AnnotationExport.path == str(path)))

    def known_files(self) -> dict[str, KnownFile]:
        """What is known of every export's file, by its path; one query."""
        row = AnnotationExport
        query = select(row.path, row.key, row.size, row.mtime_ns, row.missing_since)
        with self._session() as session:
            return {path: KnownFile(key, size, mtime_ns, since is not None) for path, key, size, mtime_ns, since in session.execute(query)}

    def set_seen(self, key: str, size: int, mtime_ns: int) -> None:
        """Remember that the file of an export is there with this size and stamp; with another stamp its digest has to be computed again."""
        with self._session() as session:
            row = session.get_one(AnnotationExport, key)
            row.digest = row.digest if (row.size, row.mtime_ns) == (size, mtime_ns) else None
            row.size, row.mtime_ns, row.missing_since = size, mtime_ns, None
