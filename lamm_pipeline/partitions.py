"""The partitions of the graph."""

import warnings

import dagster as dg

# Checks with partitions are a preview feature of the pinned Dagster, which would say so for every check of every process.
warnings.filterwarnings("ignore", category=dg.PreviewWarning, message=".*partitions_def.*")

recordings = dg.DynamicPartitionsDefinition(name="recordings")
"""One partition per SVO2 recording; its key is the catalog's recording key."""

annotation_exports = dg.DynamicPartitionsDefinition(name="annotation_exports")
"""One partition per ZIP with annotated images; its key is the catalog's."""

dataset_versions = dg.DynamicPartitionsDefinition(name="dataset_versions")
"""One partition per immutable dataset version; its key is `<name>.v<N>`."""
