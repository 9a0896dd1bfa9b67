"""Dataset versions of the house that is curated, made without Dagster."""

from pathlib import Path
from typing import Any

from lamm_pipeline.datasets.comparison import Curated
from lamm_pipeline.datasets.creation import create_dataset_version, refresh_selections
from lamm_pipeline.datasets.curate import CuratedFrame, curate_version, read_selection
from lamm_pipeline.datasets.formats.export import export_version
from lamm_pipeline.datasets.lineage import write_lineage
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.datasets.splits.split_table import split_version
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.curation.houses import House
from lamm_pipeline_tests.review.worlds import ONTOLOGY

ALL_TRAIN = SplitSettings(train_ratio=1.0, val_ratio=0.0, test_ratio=0.0)


class Shop:
    """Makes dataset versions of a house, all in train."""

    def __init__(self, house: House) -> None:
        self.house = house

    def version(self, **filters: Any) -> VersionManifest:
        for _ in refresh_selections(self.house.store, self.house.catalog, ONTOLOGY, []):
            pass
        settings = DatasetSettings(filters=FilterSettings(**filters), split=ALL_TRAIN)
        made, _ = create_dataset_version(
            self.house.root, self.house.store, self.house.catalog, ONTOLOGY, "night", [], settings, actor="ada"
        )
        return made

    def folder(self, version: VersionManifest, asset: str) -> Path:
        return self.house.root / "out" / version.key / asset

    def curate(self, version: VersionManifest) -> tuple[dict[str, Any], list[CuratedFrame]]:
        draft = Draft.open(self.folder(version, "curated_dataset"))
        summary = curate_version(version, pinned_folders(self.house.store), draft, workers=1)
        draft.finish()
        return summary, list(read_selection(self.folder(version, "curated_dataset")))

    def export(self, version: VersionManifest) -> dict[ExportFormat, Path]:
        folders = {asset: self.folder(version, asset) for asset in ("curated_dataset", "splits", "lineage")}
        draft = Draft.open(folders["splits"])
        split_version(version, folders["curated_dataset"], draft)
        draft.finish()
        for each in version.settings.formats:
            draft = Draft.open(self.folder(version, "exports"))
            export_version(
                version,
                each,
                artifact_folder=pinned_folders(self.house.store),
                curated_folder=folders["curated_dataset"],
                splits_folder=folders["splits"],
                ontology=ONTOLOGY,
                draft=draft,
                workers=1,
            )
            draft.finish()
        exports = {each: self.folder(version, "exports") / each for each in version.settings.formats}
        draft = Draft.open(folders["lineage"])
        write_lineage(version, selection_folder=folders["curated_dataset"], splits_folder=folders["splits"], exports=exports, draft=draft)
        draft.finish()
        return exports

    def curated(self, **filters: Any) -> Curated:
        """The next version, ready to be compared."""
        version = self.version(**filters)
        self.curate(version)
        return Curated(version, pinned_folders(self.house.store), self.folder(version, "curated_dataset"))
