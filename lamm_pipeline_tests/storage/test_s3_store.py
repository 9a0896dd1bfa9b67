"""What only a store in a bucket has: uploads, fetched files, links, a server that fails."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.failures import FAULTS, fault_sentence
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline.storage.garbage import find_garbage, remove_garbage
from lamm_pipeline.storage.s3_bucket import Bucket
from lamm_pipeline.storage.s3_store import S3Store
from lamm_pipeline.storage.verify import verify
from lamm_pipeline_tests.conftest import S3_KEY_ID, S3_SECRET
from lamm_pipeline_tests.storage.places import SMALLEST_PART, Place, publish

KEY = ArtifactKey("recordings", "drive", "frames")
EXPORT = ArtifactKey("datasets", "drive.v1", "coco_dataset")
LARGE = 2 * SMALLEST_PART + 1000


def identity(number: int = 0, asset: str = "frames") -> Identity:
    return Identity(asset, "1", {"number": number}, {}, {})


@pytest.fixture
def store(s3_place: Place) -> S3Store:
    opened = s3_place.open()
    assert isinstance(opened, S3Store)
    return opened


def calls(store: S3Store) -> Counter[str]:
    """Operations from now on, by name."""
    counted: Counter[str] = Counter()
    store.bucket._client.meta.events.register("before-call.s3", lambda model, **_: counted.update([model.name]))
    return counted


def answering(store: S3Store, status: int, code: str, *, times: int = 10**6) -> list[int]:
    """Let the server answer with an error; returns a list that grows with every answer."""
    answered: list[int] = []
    body = f"<Error><Code>{code}</Code><Message>{S3_SECRET}</Message></Error>".encode()

    def answer(request: Any, **_: Any) -> AWSResponse | None:
        if len(answered) >= times:
            return None
        answered.append(status)
        raw = BytesIO(body)
        raw.stream = lambda: iter([body])  # type: ignore[attr-defined]
        return AWSResponse(request.url, status, {}, raw)

    store.bucket._client.meta.events.register("before-send.s3", answer)
    return answered


def test_what_is_published_can_be_read_by_any_s3_client(store: S3Store, s3_place: Place) -> None:
    artifact = publish(store, KEY, identity(), {"gifs/a.gif": "GIF89a", "b.txt": "b"})
    place = artifact.location.removeprefix(f"s3://{s3_place.bucket.name}/")
    assert place.startswith(f"store/recordings/drive/frames/{artifact.version}/")
    assert s3_place.bucket.Object(f"{place}/gifs/a.gif").get()["Body"].read() == b"GIF89a"
    assert s3_place.bucket.Object(f"{place}/gifs/a.gif").content_type == "image/gif"
    assert S3_SECRET.encode() not in b"".join(s3_place.published().values())


def test_large_files_are_sent_in_parts_and_come_back_whole(store: S3Store, s3_place: Place) -> None:
    content = os.urandom(LARGE)
    counted = calls(store)
    with store.draft(KEY, identity().version) as draft:
        (draft.directory / "large.bin").write_bytes(content)
        (draft.directory / "small.bin").write_bytes(content[:1000])
        artifact = store.publish(KEY, draft, identity(), {}, {})
    assert counted["UploadPart"] == 3
    assert counted["CompleteMultipartUpload"] == 1
    found = s3_place.open(machine="another").find(KEY, artifact.version)
    assert found is not None
    assert found.file("large.bin").read_bytes() == content


def test_only_the_files_that_are_asked_for_are_fetched_and_only_once(store: S3Store, s3_place: Place) -> None:
    publish(store, KEY, identity(), {"a.txt": "a", "b.txt": "b"})
    other = s3_place.open(machine="another")
    assert isinstance(other, S3Store)
    found = other.current(KEY)
    assert found is not None
    counted = calls(other)
    path = found.file("a.txt")
    assert counted["GetObject"] == 1
    assert not (path.parent / "b.txt").exists()
    assert found.folder == path.parent
    assert (path.parent / "b.txt").read_text() == "b"
    again = other.current(KEY)
    assert again is not None
    counted.clear()
    assert again.folder == path.parent
    assert counted["GetObject"] == 0


def test_the_machine_that_made_an_artifact_fetches_nothing(store: S3Store) -> None:
    publish(store, KEY, identity(), {"a.txt": "a"})
    found = store.current(KEY)
    assert found is not None
    counted = calls(store)
    assert (found.folder / "a.txt").read_text() == "a"
    assert not counted


def test_hard_links_to_fetched_files_are_copied_by_the_server(store: S3Store, s3_place: Place) -> None:
    publish(store, KEY, identity(), {"image_left/0.png": "pixels", "image_left/1.png": "more pixels"})
    source = s3_place.open(machine="another")
    assert isinstance(source, S3Store)
    frames = source.current(KEY)
    assert frames is not None
    which = identity(asset="coco_dataset")
    with source.draft(EXPORT, which.version) as draft:
        os.link(frames.folder / "image_left" / "0.png", draft.directory / "0.png")
        os.link(frames.folder / "image_left" / "1.png", draft.directory / "1.png")
        s3_place.bucket.Object(f"store/{Path(frames.folder).relative_to(source.root).as_posix()}/image_left/1.png").delete()
        (draft.directory / "annotations.json").write_text("{}")
        counted = calls(source)
        artifact = source.publish(EXPORT, draft, which, {}, {})
    assert counted["CopyObject"] == 2
    assert counted["PutObject"] == 5  # annotations, the image whose original is gone, run, manifest, pointer
    found = store.find(EXPORT, artifact.version)
    assert found is not None
    assert (found.folder / "0.png").read_text() == "pixels"
    assert (found.folder / "1.png").read_text() == "more pixels"


@pytest.mark.parametrize("cut", ["truncated", "other bytes", "gone"])
def test_a_file_that_does_not_come_as_it_was_published_is_refused_and_leaves_nothing(store: S3Store, s3_place: Place, cut: str) -> None:
    artifact = publish(store, KEY, identity(), {"a.txt": "whole text"})
    target = s3_place.bucket.Object(f"{artifact.location.removeprefix(f's3://{s3_place.bucket.name}/')}/a.txt")
    _ = target.delete() if cut == "gone" else target.put(Body=b"whole" if cut == "truncated" else b"whole next")
    found = s3_place.open(machine="another").current(KEY)
    assert found is not None
    with pytest.raises(InputError, match=r"s3://.*/a\.txt is .*published.*with force"):
        found.file("a.txt")
    assert [path for path in (s3_place.folder / "another").rglob("*") if path.is_file()] == []


def test_a_download_that_breaks_off_is_a_fault_that_passes_and_leaves_nothing(store: S3Store, s3_place: Place) -> None:
    artifact = publish(store, KEY, identity(), {"a.txt": "whole text"})

    class Stutterer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"whole")

    with ThreadingHTTPServer(("127.0.0.1", 0), Stutterer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = S3Store(Bucket(f"s3://{s3_place.bucket.name}/store", f"http://127.0.0.1:{server.server_port}"), s3_place.folder / "another")
        with pytest.raises(ConnectionError, match="broke off"):
            other._artifact(KEY, artifact.version, artifact.manifest).file("a.txt")
        server.shutdown()
    assert [path for path in (s3_place.folder / "another").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("equal", [True, False], ids=["equal bytes", "other bytes"])
def test_machines_that_publish_one_version_at_once_never_mix_their_files(s3_place: Place, equal: bool) -> None:
    start = threading.Barrier(3)

    def machine(number: int) -> None:
        start.wait(10)
        text = "the same" if equal else f"of machine {number}"
        publish(s3_place.open(machine=str(number)), KEY, identity(), {f"{n}.txt": text for n in range(10)})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(machine, range(3)))
    reader = s3_place.open(machine="reader")
    found = reader.current(KEY)
    assert found is not None
    assert len({path.read_text() for path in found.folder.iterdir()}) == 1
    assert verify(reader).damage == ()
    time.sleep(1.1)
    remove_garbage(reader, {}, draft_days=0)
    assert len(s3_place.published()) == 10 + 3  # run, manifest and pointer; the files of the others are gone
    assert verify(reader).damage == ()


PUBLISHING = """
import os, random, sys
from pathlib import Path
from lamm_pipeline.storage.s3_bucket import Bucket
from lamm_pipeline.storage.s3_store import S3Store
from lamm_pipeline_tests.storage.test_s3_store import KEY, LARGE, SMALLEST_PART, identity
address, endpoint, root = sys.argv[1:]
store = S3Store(Bucket(address, endpoint, part_bytes=SMALLEST_PART), Path(root))
with store.draft(KEY, identity().version) as draft:
    for number in range(40):
        (draft.directory / f"{number}.bin").write_bytes(random.Random(number).randbytes(LARGE if number == 20 else 1000))
    store.publish(KEY, draft, identity(), {}, {})
"""


@pytest.mark.requirement("NFR-10", "AV-21")
@pytest.mark.parametrize("objects", [1, 15, 39, 41])
def test_a_killed_upload_shows_nothing_and_the_next_one_sends_only_what_is_missing(store: S3Store, s3_place: Place, objects: int) -> None:
    place = f"s3://{s3_place.bucket.name}/store", s3_place.endpoint or "", str(store.root)
    process = subprocess.Popen([sys.executable, "-c", PUBLISHING, *place])
    while process.poll() is None and len(list(s3_place.bucket.objects.all())) < objects:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    sent = sum(each.key.endswith(".bin") for each in s3_place.bucket.objects.all())
    visible = store.find(KEY, identity().version)
    assert visible is None or sent == 40
    assert verify(store).damage == ()
    if visible is None:
        counted = calls(store)
        with store.draft(KEY, identity().version) as draft:
            published = store.publish(KEY, draft, identity(), {}, {})
        assert counted["PutObject"] + counted["CompleteMultipartUpload"] <= 40 - sent + 3  # what was on its way still arrived
        assert len(published.manifest.files) == 40
    assert verify(s3_place.open(machine="another")).damage == ()
    time.sleep(1.1)
    remove_garbage(store, {}, draft_days=0)
    assert list(s3_place.bucket.multipart_uploads.all()) == []
    assert verify(store).damage == ()


def test_parts_of_an_upload_that_was_cut_off_are_removed_when_they_are_old(store: S3Store, s3_place: Place) -> None:
    publish(store, KEY, identity(), {"a.txt": "a"})
    s3_place.bucket.Object(f"store/{KEY.path}/v/c/large.bin").initiate_multipart_upload()
    decades = 10_000.0  # moto says of every upload that it began in 2010
    assert [each.reason for each in find_garbage(store, {}, draft_days=decades).garbage if "upload" in each.reason] == []
    time.sleep(1.1)
    assert [each.reason for each in find_garbage(store, {}, draft_days=0).garbage if "upload" in each.reason] == [
        "parts of an upload that was cut off"
    ]
    assert len(list(s3_place.bucket.multipart_uploads.all())) == 1
    remove_garbage(store, {}, draft_days=0)
    assert list(s3_place.bucket.multipart_uploads.all()) == []


def test_fetched_files_that_nobody_reads_go_and_come_again(store: S3Store) -> None:
    artifact = publish(store, KEY, identity(), {"a.txt": "a"})
    fetched = artifact.folder
    assert remove_garbage(store, {}, draft_days=7).garbage == () or fetched.exists()
    time.sleep(0.1)
    found = remove_garbage(store, {}, draft_days=0)
    assert "copy that can be fetched again" in {each.reason for each in found.garbage}
    assert not fetched.exists()
    again = store.current(KEY)
    assert again is not None
    assert (again.folder / "a.txt").read_text() == "a"


def test_a_version_that_was_in_force_a_moment_ago_stays_because_another_machine_may_read_it(store: S3Store) -> None:
    former = publish(store, KEY, identity(1), {"a.txt": "a"})
    publish(store, KEY, identity(2), {"a.txt": "b"})
    remove_garbage(store, {}, draft_days=1)
    assert store.find(KEY, former.version) is not None


@pytest.mark.requirement("GIF-08")
def test_a_link_opens_without_credentials_for_seven_days_at_most(store: S3Store) -> None:
    artifact = publish(store, KEY, identity(), {"gifs/a b.gif": "GIF89a"})
    link = store.link(artifact, "gifs/a b.gif", 60)
    assert link is not None
    with urllib.request.urlopen(link) as answer:  # noqa: S310  our own server
        assert answer.read() == b"GIF89a"
        assert answer.headers["Content-Type"] == "image/gif"
    assert "X-Amz-Expires=60" in link
    assert S3_SECRET not in link
    assert "X-Amz-Expires=604800" in str(store.link(artifact, "gifs/a b.gif", 7 * 86_400))
    for seconds in (0, 7 * 86_400 + 1):
        with pytest.raises(InputError, match="seven days"):
            store.link(artifact, "gifs/a b.gif", seconds)
    with pytest.raises(InputError, match=r"no file 'b\.gif'"):
        store.link(artifact, "b.gif")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (404, "NoSuchBucket", r"has no bucket 'test-.*Create it, or correct LAMM_STORE"),
        (403, "AccessDenied", r"denies GetObject in bucket .*Allow s3:ListBucket"),
        (403, "InvalidAccessKeyId", r"does not accept the credentials \(InvalidAccessKeyId\)"),
        (403, "SignatureDoesNotMatch", r"does not accept the credentials"),
        (400, "ExpiredToken", r"does not accept the credentials \(ExpiredToken\)"),
        (403, "RequestTimeTooSkewed", r"clock of this machine"),
        (400, "AuthorizationHeaderMalformed", r"another region.*AWS_DEFAULT_REGION"),
        (400, "InvalidArgument", r"refuses GetObject .*\(InvalidArgument\)"),
    ],
)
def test_what_a_person_can_mend_is_said_at_once_and_without_secrets(store: S3Store, status: int, code: str, sentence: str) -> None:
    answered = answering(store, status, code)
    with pytest.raises(InputError, match=sentence) as told:
        store.current(KEY)
    assert len(answered) == 1
    assert S3_SECRET not in str(told.getrepr(style="long"))


def test_a_real_missing_bucket_is_named(s3_server: str, s3_place: Place) -> None:
    missing = S3Store(Bucket("s3://no-such-bucket/x", s3_server), s3_place.folder)
    for work in (lambda: missing.current(KEY), missing.all_keys, lambda: publish(missing, KEY, identity(), {"a": "a"})):
        with pytest.raises(InputError, match="has no bucket 'no-such-bucket'"):
            work()


def test_a_fault_that_passes_is_tried_again_and_told_as_a_fault_when_it_does_not_pass(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    publish(store, KEY, identity(), {"a.txt": "a"})
    answered = answering(store, 503, "SlowDown", times=3)
    assert store.current(KEY) is not None
    assert len(answered) == 3
    answered = answering(store, 503, "SlowDown")
    with pytest.raises(ConnectionError, match=r"could not do GetObject now \(SlowDown\)"):
        store.current(KEY)
    assert len(answered) == 5


def test_a_server_that_is_not_there_is_a_fault_that_passes(s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    store = S3Store(Bucket("s3://some-bucket", "http://127.0.0.1:9"), s3_place.folder)
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9 cannot be reached.*LAMM_S3_ENDPOINT") as told:
        store.current(KEY)
    assert isinstance(told.value, FAULTS)
    assert fault_sentence(told.value).startswith("The S3 server http://127.0.0.1:9 cannot be reached")


def test_missing_credentials_are_said(s3_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(s3_place.folder / "none"))
    with pytest.raises(InputError, match=r"no credentials .*AWS_ACCESS_KEY_ID"):
        s3_place.open().current(KEY)


@pytest.mark.parametrize(
    ("address", "endpoint", "variable"),
    [
        (f"s3://{S3_KEY_ID}:{S3_SECRET}@bucket/x", None, "LAMM_STORE"),
        ("s3://", None, "LAMM_STORE"),
        ("https://bucket/x", None, "LAMM_STORE"),
        ("s3://bucket/../x", None, "LAMM_STORE"),
        ("s3://bucket/a//b", None, "LAMM_STORE"),
        ("s3://Bucket", None, "LAMM_STORE"),
        ("s3://bucket", f"http://{S3_KEY_ID}:{S3_SECRET}@127.0.0.1:9000", "LAMM_S3_ENDPOINT"),
        ("s3://bucket", "127.0.0.1:9000", "LAMM_S3_ENDPOINT"),
    ],
)
def test_a_wrong_address_is_refused_without_repeating_what_may_be_a_secret(address: str, endpoint: str | None, variable: str) -> None:
    with pytest.raises(InputError, match=variable) as told:
        Bucket(address, endpoint)
    assert S3_SECRET not in str(told.value)
    assert S3_KEY_ID not in str(told.value)


def test_a_manifest_that_names_files_outside_is_refused(store: S3Store, s3_place: Place) -> None:
    artifact = publish(store, KEY, identity(), {"a.txt": "a"})
    manifest = s3_place.bucket.Object(f"store/{KEY.path}/{artifact.version}/manifest.json")
    manifest.put(Body=manifest.get()["Body"].read().replace(b'"a.txt"', b'"../../a.txt"'))
    with pytest.raises(InputError, match="lies outside"):
        store.current(KEY)


def test_nothing_secret_is_logged_even_where_everything_is(store: S3Store, caplog: pytest.LogCaptureFixture) -> None:
    work: list[Callable[[], Any]] = [lambda: publish(store, KEY, identity(), {"a.txt": "a"}), lambda: store.current(KEY)]
    with caplog.at_level(logging.DEBUG):
        for each in work:
            each()
        answering(store, 403, "AccessDenied")
        with pytest.raises(InputError):
            store.current(KEY)
    assert S3_SECRET not in caplog.text
    assert "Signature=" not in caplog.text
