"""The scene library as it is now: what is published of artifacts, what the catalog says now, ready to be asked."""

import threading
from collections.abc import Mapping
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.scenes.library.collect import KEY, collect, known, published, with_present
from lamm_pipeline.scenes.library.query import SceneQueries
from lamm_pipeline.scenes.library.scene_table import Scene
from lamm_pipeline.storage.artifacts import ArtifactStore


class SceneLibrary:
    """The library of a root. Keeps what it has read until something changes, and may be called by several threads.

    Artifacts are as of the last refresh of `scene_library`, or, where there was none yet, as of the first question; tags, labelling and
    datasets are always those of the moment.
    """

    def __init__(self, store: ArtifactStore, catalog: Catalog, root: Path) -> None:
        self.store = store
        self.catalog = catalog
        self.root = root
        self._lock = threading.Lock()
        self._read: tuple[str | None, Mapping[str, Scene]] | None = None
        self._ready: tuple[tuple[str | None, int], SceneQueries] | None = None

    def queries(self) -> SceneQueries:
        """Answers questions about the scenes of this moment."""
        with self._lock:
            key = (self.store.current_version(KEY), self.catalog.audit.watermark())
            if self._ready is None or self._ready[0] != key:
                told = known(self.catalog, self.root)
                if self._read is None or self._read[0] != key[0]:
                    rows = published(self.store) or {each.scene_id: each for each in collect(self.store, told, {})}
                    self._read = (key[0], rows)
                self._ready = (key, SceneQueries(with_present(self._read[1], told)))
            return self._ready[1]
