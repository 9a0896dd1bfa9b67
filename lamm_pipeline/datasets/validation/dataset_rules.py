"""Rules about frames and about the version as a whole: missing annotations, duplicates, balance, splits."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lamm_pipeline.curation.near_duplicates import near_duplicates_across
from lamm_pipeline.datasets.validation.rule import Failure, Seen, Verdict, share
from lamm_pipeline.datasets.validation.settings import RuleName
from lamm_pipeline.sample_table import FrameState

NAMED_CLASSES = 3


class MissingAnnotations:
    """Every frame has annotations, or a person says that nothing is there."""

    name = RuleName.missing_annotations
    advice = "Annotate these frames, confirm in a review that they are empty, or drop them (empty_frames: drop)."

    def __init__(self) -> None:
        self._frames = 0
        self._negatives = 0

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        sample = seen.sample
        self._frames += 1
        if sample.annotations:
            return
        if sample.state == FrameState.reviewed_empty:
            self._negatives += 1
        else:
            yield Failure(sample.frame_id, None, "no annotations")

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"frames": self._frames, "without_annotations": failures, "reviewed_empty": self._negatives}
        if failures:
            return Verdict(False, f"{failures} frames ({share(failures, self._frames)}) have no annotations", counts)
        negatives = f" or are known to be empty ({self._negatives})" if self._negatives else ""
        return Verdict(True, f"All {self._frames} frames have annotations{negatives}", counts)


class DuplicateFrames:
    """Every frame index of a recording is there once. Keeps the indices."""

    name = RuleName.duplicate_frames
    advice = "Leave one of each pair out, or find out which export brought them in twice."

    def __init__(self) -> None:
        self._seen: defaultdict[str, set[int]] = defaultdict(set)

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        sample = seen.sample
        known = self._seen[sample.recording]
        if sample.frame_index in known:
            yield Failure(sample.frame_id, None, f"frame {sample.frame_index} of {sample.recording} is there more than once")
        known.add(sample.frame_index)

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        if failures:
            return Verdict(False, f"Found {failures} duplicate frame indices")
        return Verdict(True, "Every frame index is there once")


class ClassBalance:
    """The most frequent class has not many times the samples of the rarest."""

    name = RuleName.class_balance
    advice = "Consider data augmentation for minority classes"

    def __init__(self, severe: float, moderate: float) -> None:
        self._severe = severe
        self._moderate = moderate
        self._samples: Counter[str] = Counter()

    def look(self, seen: Seen) -> Iterable[Failure]:
        """See `Rule`."""
        self._samples.update(annotation.class_id for annotation in seen.sample.annotations)
        return ()

    def finish(self) -> Iterator[Failure]:
        """See `Rule`."""
        most = max(self._samples.values(), default=0)
        for class_id, count in sorted(self._samples.items(), key=lambda item: (item[1], item[0])):
            if most / count >= self._moderate:
                yield Failure(None, None, f"{class_id}: {count} samples, 1 to {most / count:.1f} of the most frequent class")

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        ordered = sorted(self._samples.items(), key=lambda item: (-item[1], item[0]))
        if len(ordered) < 2:
            return Verdict(True, "There are not two classes to be compared", {"classes": len(ordered)})
        (largest, most), (smallest, least) = ordered[0], ordered[-1]
        ratio = most / least
        counts = {"classes": len(ordered), "ratio": round(ratio, 4), "minority_classes": failures}
        if ratio < self._moderate:
            return Verdict(True, f"{largest} has {ratio:.1f}x more samples than {smallest}", counts)
        how = "Severe" if ratio >= self._severe else "Moderate"
        return Verdict(False, f"{how} class imbalance detected: {largest} has {ratio:.1f}x more samples than {smallest}", counts)


class ClassMissingFromSplit:
    """Every class is in every split that is to have frames."""

    name = RuleName.class_missing_from_split
    advice = "Split stratified by class, add recordings with these classes, or leave the classes out."

    def __init__(self, splits: Sequence[str]) -> None:
        self._splits = splits
        self._samples: Counter[tuple[str, str | None]] = Counter()

    def look(self, seen: Seen) -> Iterable[Failure]:
        """See `Rule`."""
        self._samples.update((annotation.class_id, seen.split) for annotation in seen.sample.annotations)
        return ()

    def finish(self) -> Iterator[Failure]:
        """See `Rule`."""
        for class_id, splits in self._missing().items():
            for split in splits:
                yield Failure(None, None, f"{class_id} is not in {split}")

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        missing = self._missing()
        counts = {"classes": len(missing), "missing": failures}
        if not failures:
            return Verdict(True, f"All {len(missing)} classes are in every split", counts)
        named = [f"{class_id} ({', '.join(splits)})" for class_id, splits in missing.items() if splits]
        more = f" and {len(named) - NAMED_CLASSES} more" if len(named) > NAMED_CLASSES else ""
        return Verdict(False, f"{len(named)} classes are missing from splits: {', '.join(named[:NAMED_CLASSES])}{more}", counts)

    def _missing(self) -> dict[str, list[str]]:
        """By class, the splits that lack it."""
        classes = sorted({class_id for class_id, _ in self._samples})
        return {class_id: [split for split in self._splits if not self._samples[class_id, split]] for class_id in classes}


class Density:
    """There are objects enough. Frames of which a person says that they are empty do not count."""

    name = RuleName.density
    advice = "Annotate more objects, or leave frames without any out."

    def __init__(self, least: float) -> None:
        self._least = least
        self._frames = 0
        self._objects = 0

    def look(self, seen: Seen) -> Iterable[Failure]:
        """See `Rule`."""
        sample = seen.sample
        self._objects += len(sample.annotations)
        self._frames += sample.state != FrameState.reviewed_empty
        return ()

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:  # noqa: ARG002  it is about no single frame
        """See `Rule`."""
        mean = self._objects / self._frames if self._frames else 0.0
        counts = {"frames": self._frames, "objects": self._objects, "objects_per_frame": round(mean, 4)}
        passed = self._frames == 0 or mean >= self._least
        return Verdict(passed, f"{mean:.2f} objects a frame on average" + ("" if passed else f", fewer than {self._least:g}"), counts)


class NearDuplicates:
    """No frame of one split looks like a frame of another. Keeps ids and hashes of the frames."""

    name = RuleName.near_duplicates
    advice = "Split with near-duplicates kept together (strategy stratified), or leave one of each pair out."

    def __init__(self, bits: int, splits: Sequence[str]) -> None:
        self._bits = bits
        self._splits = splits
        self._frame_ids: list[str] = []
        self._hashes = array("Q")
        self._codes = array("b")
        self._without = 0

    def look(self, seen: Seen) -> Iterable[Failure]:
        """See `Rule`."""
        sample = seen.sample
        if seen.split is None:
            return ()
        if sample.image_hash is None:
            self._without += 1
        else:
            self._frame_ids.append(sample.frame_id)
            self._hashes.append(sample.image_hash)
            self._codes.append(self._splits.index(seen.split))
        return ()

    def finish(self) -> Iterator[Failure]:
        """See `Rule`."""
        hashes, codes = np.frombuffer(self._hashes, np.uint64), np.frombuffer(self._codes, np.int8).astype(np.int64)
        for one, other in near_duplicates_across(hashes, codes, self._bits).tolist():
            bits = (self._hashes[one] ^ self._hashes[other]).bit_count()
            here, there = self._splits[self._codes[one]], self._splits[self._codes[other]]
            yield Failure(self._frame_ids[one], None, f"in {here}, differs in {bits} bits from {self._frame_ids[other]} in {there}")

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"compared": len(self._hashes), "without_hash": self._without, "near_duplicates": failures}
        if failures:
            return Verdict(False, f"{failures} frames ({share(failures, len(self._hashes))}) look like frames of another split", counts)
        if self._hashes or not self._without:
            return Verdict(True, f"No two of {len(self._hashes)} frames look alike across splits", counts)
        return Verdict(True, f"Not checked: none of the {self._without} frames has a hash", counts)
