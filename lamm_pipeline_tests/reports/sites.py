"""A report server on a real socket, and requests to it that no library makes polite."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.security import Access, access_for
from lamm_pipeline.reports.server import listen, make_server
from lamm_pipeline.review import gifs, sequence_annotations
from lamm_pipeline.review.sequence_annotations import FILE_NAME as SEQUENCES
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline_tests.review.worlds import World

LOCAL = "127.0.0.1"
WRITES = {"Content-Type": "application/json", "X-Lamm-Review": "1"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A report server at a port of this machine."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{LOCAL}:{self.port}"

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(LOCAL, self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, content: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, json.dumps(content).encode(), WRITES | dict(headers or {}))

    def raw(self, request: bytes) -> Answer:
        """Send bytes as they are, and read until the server ends the connection."""
        with socket.create_connection((LOCAL, self.port), 60) as connection:
            connection.sendall(request)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        head, _, body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), headers, body)

    def raw_get(self, target: str) -> Answer:
        return self.raw(f"GET {target} HTTP/1.1\r\nHost: {LOCAL}:{self.port}\r\nConnection: close\r\n\r\n".encode("latin-1"))

    def decide(self, *decisions: dict[str, Any], actor: str = "eve", watermark: int = 0, recording: str = "drive") -> Answer:
        return self.post(f"/api/recordings/{recording}/decisions", {"actor": actor, "decisions": decisions, "watermark": watermark})


@contextmanager
def running(root: Path, access: Access | None = None) -> Iterator[Site]:
    """A report server for this root, in a thread."""
    listener = listen(LOCAL, 0)
    site = Site(listener.getsockname()[1])
    server = make_server(Workspace(root=str(root)), access or access_for(LOCAL, None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        listener.listen()
        yield site
    finally:
        server.should_exit = True
        thread.join(30)


def publish_sequences(world: World, sequences: Sequence[SequenceAnnotation], parameter: int = 1) -> Artifact:
    """Publish these sequence annotations of the detections in force."""
    content = SequenceAnnotations("drive", "cluster", "union_find", {"p": parameter}, {}, None, tuple(sequences))
    inputs = {"frames": world.frames.version, "detections": world.detections.version}
    return publish(world, "sequence_annotations", inputs, parameter, lambda folder: sequence_annotations.write(folder / SEQUENCES, content))


def publish_gifs(world: World, sequences: Artifact, made: Mapping[str, bytes]) -> Artifact:
    """Publish a main and a crop GIF for each of these sequence annotations; the bytes stand for both."""
    inputs = {"frames": world.frames.version, "sequence_annotations": sequences.version}

    def write(folder: Path) -> None:
        index = {}
        for number, (name, content) in enumerate(made.items()):
            for kind in ("main", "crop"):
                (folder / f"gifs/{number}").mkdir(parents=True, exist_ok=True)
                (folder / f"gifs/{number}/{kind}.gif").write_bytes(content)
            names = {"main": f"gifs/{number}/main.gif", "crop": f"gifs/{number}/crop.gif"}
            index[name] = {**names, "frames": 2, "thinned_frames": 0, "skipped_images": [], "size": 2 * len(content), "reason": None}
        (folder / gifs.FILE_NAME).write_text(json.dumps(index))

    return publish(world, "review_gifs", inputs, 1, write)


def publish(world: World, asset: str, inputs: Mapping[str, str], parameter: int, write: Callable[[Path], None]) -> Artifact:
    """Publish what `write` writes as an asset of `drive`."""
    key = ArtifactKey("recordings", "drive", asset)
    identity = Identity(asset, "1", {"p": parameter}, inputs, {})
    with world.store.draft(key, identity.version) as draft:
        write(draft.directory)
        return world.store.publish(key, draft, identity, {}, {})


def decision(world: World, kind: str, subject: str, action: str, note: str = "", **value: Any) -> dict[str, Any]:
    """A decision as the page sends it."""
    versions = {"frame": world.frames.version, "annotation": world.detections.version}
    return {"kind": kind, "subject": subject, "action": action, "value": value, "version": versions.get(kind), "note": note}
