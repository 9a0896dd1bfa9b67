import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.tracking import checks
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.masklets.masklet_table import MaskletTableWriter
from lamm_pipeline.tracking.masklets.quality import Quality, measure
from lamm_pipeline_tests.tracking.masklets.moving_masks import Shifts, follow, listed, rectangle


def verdicts(found):
    return {result.check_name: result.passed for result in checks.masklet_checks(found)}


def test_good_masklets_pass_every_check(tmp_path):
    follow(tmp_path, 6, [listed(n, rectangle(10 + 2 * n, 5)) for n in range(6)])
    found = measure(tmp_path)
    assert found == Quality(masklets=1, repeated=(), broken=0, flipped=0, frames_with_candidates=6, covered=6)
    assert set(verdicts(found).values()) == {True}


def test_broken_flipping_and_uncovered_masklets_are_told(tmp_path):
    class Blinks(Shifts):
        """Does not see anything in frame 3."""

        def session(self, video, first, end):
            opened = super().session(video, first, end)
            with opened as session:
                propagate = session.propagate
                session.propagate = lambda *given, **how: (
                    (frame, {} if frame == 3 else masks) for frame, masks in propagate(*given, **how)
                )
            return opened

    shown = [listed(n, rectangle(10 + 2 * n, 5), class_id="car" if n < 4 else "van") for n in range(6)]
    follow(tmp_path, 6, shown, Blinks())
    found = measure(tmp_path)
    assert (found.broken, found.flipped) == (1, 1)
    assert (found.frames_with_candidates, found.covered) == (6, 5)
    assert verdicts(found) == {
        "masklet_ids_unique": True,
        "masklets_unbroken": False,
        "masklets_of_one_class": False,
        "masklets_cover_candidates": False,
    }


def test_an_id_that_is_twice_in_a_frame_or_in_two_levels_is_told(tmp_path):
    _, rows = follow(tmp_path, 2, {1: [listed(0, rectangle(10, 5))], 2: [listed(0, rectangle(30, 5))]})
    first, *_, last = rows
    with MaskletTableWriter(tmp_path / masklet_table.FILE_NAME) as table:
        for row in (first, first, type(last)(**{**{name: getattr(last, name) for name in last.__slots__}, "masklet_id": 1})):
            table.add(row)
    found = measure(tmp_path)
    assert found.repeated == ("Masklet 1 has 2 masks in frame 0.", "Masklet 1 is in the levels 1 and 2.")
    assert verdicts(found)["masklet_ids_unique"] is False


def test_nothing_found_passes(tmp_path):
    follow(tmp_path, 2, [listed(0)])
    assert set(verdicts(measure(tmp_path)).values()) == {True}


def test_missing_and_foreign_tables_are_sentences(tmp_path):
    with pytest.raises(InputError, match="Run the stage 'masklets' first"):
        list(masklet_table.read(tmp_path / "masklets.parquet"))
    (tmp_path / "masklets.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a table of masklets"):
        list(masklet_table.read(tmp_path / "masklets.parquet"))
