"""What Dagster remembers of runs, for people: which are under way, failed or paused, which changed last, and what each of them did.

Every question looks at a limited number of runs, the newest, however many there are. Runs that only refresh summaries of the whole root
(the scene library, the dashboard) are left out unless they failed: they come with every change, and would be all that one sees.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.produce import PROGRESS_TAG
from lamm_pipeline.orchestration.runs import PARTITION_TAG, RunState, newest_run, state_of

REFRESH_JOB = "refresh_scenes"
"""Name of the job that makes nothing but summaries."""

ASSET_JOB = "__ASSET_JOB"
"""What Dagster calls runs that were launched for assets rather than for a job."""

PAGE = 50
LOOKED_AT = 300
KEPT = 200
_BY_CHANGE = "update_timestamp"
_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
}
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_STARTERS = ("dagster/sensor_name", "dagster/schedule_name")


@dataclass(frozen=True)
class PastRun:
    """A run as people know it.

    Attributes:
        run_id: Dagster's name for it.
        job: the job, or the assets where it was launched for these.
        partition: recording, dataset version or annotation export; None without.
        actor: who launched it, a person, sensor or schedule; None where nobody knows.
        created_at, changed_at: UTC.
        progress: such as `40 %`; None where it does not say.
    """

    run_id: str
    job: str
    partition: str | None
    actor: str | None
    state: RunState
    created_at: datetime
    changed_at: datetime
    progress: str | None


@dataclass(frozen=True)
class CheckOutcome:
    """What a check said."""

    asset: str
    check: str
    partition: str | None
    passed: bool
    severity: str
    sentence: str


@dataclass(frozen=True)
class RunDeeds:
    """What a run did.

    Attributes:
        assets: those it materialized, in order.
        checks: of these.
        failed_steps: names of the steps that failed.
        error: why it failed, for people; None where it did not.
    """

    assets: tuple[str, ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    failed_steps: tuple[str, ...] = ()
    error: str | None = None


class Remembered:
    """What cannot change any more of finished runs. Reading a run's events takes a while, because SQLite has a file for each run."""

    def __init__(self) -> None:
        self.deeds: OrderedDict[str, RunDeeds] = OrderedDict()
        self.settled: set[str] = set()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"deeds": {run: asdict(self.deeds[run]) for run in sorted(self.deeds)}, "settled": sorted(self.settled)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Remembered":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError: it is none.
        """
        found = cls()
        for run, deeds in stored["deeds"].items():
            checks = tuple(CheckOutcome(**check) for check in deeds["checks"])
            found.deeds[run] = RunDeeds(tuple(deeds["assets"]), checks, tuple(deeds["failed_steps"]), deeds["error"])
        found.settled = set(stored["settled"])
        return found


class RunHistory:
    """Answers questions about the runs of an instance."""

    def __init__(self, instance: dg.DagsterInstance, remembered: Remembered | None = None) -> None:
        self.instance = instance
        self.home = Path(instance.root_directory)
        self.remembered = remembered or Remembered()

    def under_way(self, limit: int) -> list[PastRun]:
        """Runs that work or wait for their turn, the newest first."""
        states = (RunState.running, RunState.pending)
        return self._some(limit, _UNDER_WAY, lambda run: run.state in states)

    def failed(self, limit: int) -> list[PastRun]:
        """Runs that failed and whose work nobody has done since, the newest first.

        It is done when what failed has been materialized later, or the same job has succeeded for the same partition.
        """
        dead = self._some(limit, _UNDER_WAY, lambda run: run.state is RunState.failed, summaries=True)
        found = [*dead, *self._some(limit, [dg.DagsterRunStatus.FAILURE], lambda run: not self._is_settled(run), summaries=True)]
        return sorted(found, key=lambda run: run.changed_at, reverse=True)[:limit]

    def paused(self, limit: int) -> list[PastRun]:
        """Runs that were stopped and can go on, the newest first: those after which nothing was run for the same partition."""

        def waits(run: PastRun) -> bool:
            newest = None if run.partition is None else newest_run(self.instance, run.partition)
            return run.state is RunState.paused and (newest is None or newest.run_id == run.run_id)

        return self._some(limit, [dg.DagsterRunStatus.CANCELED], waits)

    def newest(self, limit: int, before: datetime | None = None) -> list[PastRun]:
        """The runs that changed last.

        Args:
            limit: how many at most.
            before: only those whose last change is older.
        """
        return self._some(limit, [], lambda _: True, before)

    def deeds(self, run: PastRun) -> RunDeeds:
        """What a run did, or has done so far."""
        kept = self.remembered.deeds
        if run.run_id in kept:
            kept.move_to_end(run.run_id)
            return kept[run.run_id]
        found = _deeds(self.instance, run.run_id)
        if run.state not in (RunState.running, RunState.pending):
            kept[run.run_id] = found
            while len(kept) > KEPT:
                kept.popitem(last=False)
        return found

    def _some(
        self,
        limit: int,
        statuses: Sequence[dg.DagsterRunStatus],
        wanted: Callable[[PastRun], bool],
        before: datetime | None = None,
        *,
        summaries: bool = False,
    ) -> list[PastRun]:
        found: list[PastRun] = []
        for record in self._by_change(statuses, before):
            if not summaries and _is_refresh(record.dagster_run) and record.dagster_run.status is not dg.DagsterRunStatus.FAILURE:
                continue
            run = self._told(record)
            if wanted(run):
                found.append(run)
                if len(found) == limit:
                    break
        return found

    def _by_change(self, statuses: Sequence[dg.DagsterRunStatus], before: datetime | None) -> Iterator[dg.RunRecord]:
        """Records of runs, those that changed last first; `LOOKED_AT` at most."""
        seen = 0
        while seen < LOOKED_AT:
            some = self.instance.get_run_records(dg.RunsFilter(statuses=statuses, updated_before=before), limit=PAGE, order_by=_BY_CHANGE)
            yield from some
            seen += len(some)
            if len(some) < PAGE:
                return
            before = some[-1].update_timestamp

    def _told(self, record: dg.RunRecord) -> PastRun:
        run = record.dagster_run
        return PastRun(
            run_id=run.run_id,
            job=_job(run),
            partition=run.tags.get(PARTITION_TAG),
            actor=run.tags.get(ACTOR_TAG) or next((run.tags[tag] for tag in _STARTERS if tag in run.tags), None),
            state=state_of(self.home, run),
            created_at=_utc(record.create_timestamp),
            changed_at=_utc(record.update_timestamp),
            progress=run.tags.get(PROGRESS_TAG),
        )

    def _is_settled(self, run: PastRun) -> bool:
        settled = self.remembered.settled
        if run.run_id not in settled and (self._succeeded_since(run) or self._made_since(run)):
            settled.add(run.run_id)
        return run.run_id in settled

    def _made_since(self, run: PastRun) -> bool:
        """Whether all that failed has been materialized since."""
        steps = self.deeds(run).failed_steps
        partitions = None if run.partition is None else [run.partition]
        return bool(steps) and all(
            self.instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey(step), asset_partitions=partitions, after_timestamp=run.changed_at.timestamp()), limit=1
            ).records
            for step in steps
        )

    def _succeeded_since(self, run: PastRun) -> bool:
        tags = {} if run.partition is None else {PARTITION_TAG: run.partition}
        success = dg.RunsFilter(job_name=run.job, statuses=[dg.DagsterRunStatus.SUCCESS], tags=tags, created_after=run.created_at)
        return bool(self.instance.get_runs(success, limit=1))


def failing_now(outcomes: Sequence[tuple[PastRun, RunDeeds]]) -> list[tuple[PastRun, CheckOutcome]]:
    """Checks that fail now: those whose newest outcome is none that passed. `outcomes` are of runs, those that changed last first."""
    seen: set[tuple[str, str, str | None]] = set()
    found = []
    for run, deeds in outcomes:
        for each in reversed(deeds.checks):
            key = (each.asset, each.check, each.partition or run.partition)
            if key not in seen and not each.passed:
                found.append((run, each))
            seen.add(key)
    return found


def _deeds(instance: dg.DagsterInstance, run_id: str) -> RunDeeds:
    assets: list[str] = []
    checks: list[CheckOutcome] = []
    steps: list[str] = []
    sentences: list[str] = []
    for record in instance.get_records_for_run(run_id, of_type=_EVENTS).records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            assets.append(event.asset_key.path[-1])
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            checks.append(_outcome(event.asset_check_evaluation_data))
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            steps.append(event.step_key or "")
            sentences.append(_reason(event))
        else:
            sentences.append(event.message or "")
    return RunDeeds(tuple(dict.fromkeys(assets)), tuple(checks), tuple(steps), next((each for each in sentences if each), None))


def _outcome(said: dg.AssetCheckEvaluation) -> CheckOutcome:
    asset, severity = said.asset_key.path[-1], said.severity.value
    return CheckOutcome(asset, said.check_name, said.partition, said.passed, severity, said.description or "")


def _reason(event: dg.DagsterEvent) -> str:
    """Why a step failed: the sentence that it was made to fail with, else what its error says."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return "" if error is None else error.message.strip()


def _is_refresh(run: dg.DagsterRun) -> bool:
    """Whether a run makes nothing but summaries; they alone are assets without partitions."""
    return PARTITION_TAG not in run.tags and run.job_name.startswith((ASSET_JOB, REFRESH_JOB))


def _job(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith(ASSET_JOB):
        return run.job_name
    return ", ".join(sorted(key.path[-1] for key in run.asset_selection or ())) or "assets"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
