"""Hostile requests to the report server: what other pages, other machines and other people try."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.reports import security
from lamm_pipeline.reports.security import MAX_BODY, access_for
from lamm_pipeline.reports.server import listen
from lamm_pipeline_tests.reports.sites import LOCAL, WRITES, Site, decision, running
from lamm_pipeline_tests.review.worlds import World

pytestmark = pytest.mark.usefixtures("own_environment")

TOKEN = "token-of-the-tests-0123456789"  # noqa: S105
DECIDE = "/api/recordings/drive/decisions"
PAGE = {"Accept": "text/html"}


@pytest.fixture
def guarded(world: World) -> Iterator[Site]:
    """A server as others reach it: any host name, but a token."""
    with running(world.root, access_for("0.0.0.0", TOKEN)) as site:  # noqa: S104  nothing listens there
        yield site


# --- who asks ---


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:3001", "LOCALHOST:1", "[::1]:3001"])
def test_the_names_of_this_machine_are_answered(site: Site, host: str) -> None:
    assert site.get("/api/recordings", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:3001", "evil.example:3001", "0.0.0.1", "10.0.0.1", "[::2]"]
)
@pytest.mark.parametrize("path", ["/", "/recordings/drive", "/datasets", "/api/recordings/drive/data", "/static/review.js"])
def test_a_name_that_was_pointed_at_this_machine_gets_nothing(site: Site, host: str, path: str) -> None:
    found = site.get(path, Host=host)
    assert found.status == 421
    assert b"drive" not in found.body


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "Host:\r\n",
        "Host: 127.0.0.1\r\nHost: evil.example\r\n",
        "Host: 127.0.0.1/evil\r\n",
        "Host: a@127.0.0.1\r\n",
        "Host: 127.0.0.1:port\r\n",
    ],
)
def test_a_request_without_one_clear_host_gets_nothing(site: Site, lines: str) -> None:
    assert site.raw(f"GET /api/recordings HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()).status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"X-Lamm-Review": ""}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
@pytest.mark.parametrize("what", ["decisions", "undo", "labelling"])
def test_another_page_in_the_same_browser_cannot_write(world: World, site: Site, headers: dict[str, str], status: int, what: str) -> None:
    world.catalog.labelling.set(["drive"], "ada", status="in_review")
    content = {"actor": "eve", "decisions": [decision(world, "annotation", "drive:000000:0", "exclude")], "status": "labelled"}
    assert site.post(f"/api/recordings/drive/{what}", content, headers).status == status
    assert world.catalog.decisions.of("drive") == []
    assert world.catalog.labelling.of("drive").status == "in_review"


def test_our_own_page_can_write(world: World, site: Site) -> None:
    headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    content = {"actor": "eve", "decisions": [decision(world, "annotation", "drive:000000:0", "exclude")]}
    assert site.post(DECIDE, content, headers).status == 200
    assert [each.actor for each in world.catalog.decisions.of("drive")] == ["eve"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_do_nothing_and_no_other_origin_is_invited(site: Site, method: str) -> None:
    for path in (DECIDE, "/files/recordings/drive/frames/0000000000000000/x", "/"):
        found = site.request(method, path, headers=WRITES | {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"})
        assert found.status in (403, 405)
        assert not any(name.startswith("access-control") for name in found.headers)


# --- tokens ---


def test_an_address_that_others_reach_needs_a_token_that_cannot_be_guessed() -> None:
    for host in ("0.0.0.0", "::", "10.1.2.3", "review.example", ""):  # noqa: S104  nothing listens there
        with pytest.raises(InputError, match="LAMM_REPORT_TOKEN"):
            access_for(host, None)
        assert access_for(host, TOKEN).token == TOKEN
    for weak in ("", "short", "ünicode" * 4, "with\nlines" * 4):
        with pytest.raises(InputError, match="at least 16 ASCII characters"):
            access_for(LOCAL, weak)


@pytest.mark.parametrize(
    "path", ["/api/recordings", "/api/recordings/drive/data", "/recordings/drive", "/nowhere", "/files/recordings/drive"]
)
def test_without_the_token_there_is_nothing(guarded: Site, path: str) -> None:
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"lamm_report={TOKEN}"},
        {"Cookie": "lamm_report="},
    ]
    for headers in [*wrong, {"Authorization": f"Bearer {TOKEN[:-1]}"}, {"Authorization": f"Bearer {TOKEN}x"}, {"Cookie": "=;;\x01"}]:
        found = guarded.request("GET", path, headers=headers)
        assert found.status == 401
        assert b"drive" not in found.body
    assert guarded.request("GET", f"{path}?token={TOKEN}").status == 401  # addresses end up in logs and histories


def test_a_script_shows_the_token_in_a_header(guarded: Site) -> None:
    found = guarded.get("/api/recordings", Authorization=f"Bearer {TOKEN}")
    assert [each["recording"] for each in found.content["recordings"]] == ["drive"]


def test_a_browser_is_sent_to_the_login_and_gets_a_cookie_that_is_not_the_token(guarded: Site) -> None:
    sent = guarded.request("GET", "/recordings/drive", headers=PAGE)
    assert (sent.status, sent.headers["location"]) == (303, "/login?next=/recordings/drive")
    assert guarded.request("GET", "/login", headers=PAGE).status == 200
    assert guarded.post("/login", {"token": "wrong"}).status == 401
    assert guarded.post("/login", {"token": [TOKEN]}).status == 401
    given = guarded.post("/login", {"token": TOKEN}, {"Origin": guarded.url})
    cookie = given.headers["set-cookie"]
    assert given.status == 200
    assert TOKEN not in cookie
    assert {"httponly", "samesite=lax", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert guarded.get("/recordings/drive", Cookie=cookie.split(";")[0]).status == 200
    assert "secure" in guarded.post("/login", {"token": TOKEN}, {"Origin": f"https://{LOCAL}:{guarded.port}"}).headers["set-cookie"].lower()
    assert guarded.post("/login", {"token": TOKEN}, {"Origin": "http://evil.example"}).status == 403


def test_with_the_cookie_another_page_still_cannot_write(world: World, guarded: Site) -> None:
    cookie = guarded.post("/login", {"token": TOKEN}).headers["set-cookie"].split(";")[0]
    content = {"actor": "eve", "decisions": [decision(world, "annotation", "drive:000000:0", "exclude")]}
    assert guarded.post(DECIDE, content, {"Cookie": cookie, "Origin": "http://evil.example"}).status == 403
    assert world.catalog.decisions.of("drive") == []
    assert guarded.post(DECIDE, content, {"Cookie": cookie, "Origin": guarded.url}).status == 200


# --- what is sent ---


def post_raw(site: Site, head: str, body: bytes) -> int:
    lines = f"POST {DECIDE} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Lamm-Review: 1\r\nContent-Type: application/json\r\n"
    return site.raw(f"{lines}Connection: close\r\n{head}\r\n".encode() + body).status


def test_requests_that_are_too_large_are_refused_whether_they_say_so_or_not(world: World, site: Site) -> None:
    large = json.dumps({"actor": "x" * MAX_BODY}).encode()
    assert post_raw(site, f"Content-Length: {len(large)}\r\n", b"") == 413
    assert post_raw(site, "Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)) == 413
    assert post_raw(site, "Content-Length: -1\r\n", b"") == 400
    assert post_raw(site, "Content-Length: 99999999999999999999\r\n", b"") == 413
    assert site.raw(b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status in (400, 404)
    assert world.catalog.decisions.of("drive") == []


def test_a_request_that_does_not_end_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "BODY_SECONDS", 0.2)
    assert post_raw(site, "Content-Length: 100\r\n", b'{"actor"') == 408


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"actor": "eve"}', b'{"actor": "eve", "decisions": {}}', b'{"actor": 3}'],
)
def test_what_is_no_request_is_refused_with_a_sentence(world: World, site: Site, body: bytes) -> None:
    found = site.request("POST", DECIDE, body, WRITES)
    assert found.status == 400
    assert found.content["error"].endswith(".")
    assert world.catalog.decisions.of("drive") == []


@pytest.mark.parametrize("actor", ["", "  ", "x" * 201, "two\nlines", "\x00", None, 3, ["eve"]])
def test_a_decision_needs_somebody_who_takes_it(world: World, site: Site, actor: object) -> None:
    content = {"actor": actor, "decisions": [decision(world, "annotation", "drive:000000:0", "exclude")]}
    assert "who decides" in site.post(DECIDE, content).content["error"]
    assert world.catalog.decisions.of("drive") == []


@pytest.mark.parametrize(
    "key", ["..", ".", "%2e%2e", "drive%00", "drive%2f..", "dr%69ve%0a", "x' OR '1'='1", "drive;", "%ff%fe", "unknown", "a" * 300, "drive%"]
)
def test_odd_names_of_recordings_are_not_found(site: Site, key: str) -> None:
    key = key.replace(" ", "%20").replace("'", "%27")
    for path in (f"/recordings/{key}", f"/api/recordings/{key}/data", f"/api/recordings/{key}/state", f"/recordings/{key}/images/0/0"):
        assert site.raw_get(path).status == 404
    assert site.raw_get(f"/recordings/{key}").headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("query", ["frames=", "frames=-1", "frames=1,x", "frames=1e9", "frames=%00", "frames=" + "9" * 40, "frames=٣"])
def test_odd_numbers_are_refused(site: Site, query: str) -> None:
    assert site.raw_get(f"/api/recordings/drive/masks?{query}".encode().decode("latin-1")).status in (400, 404)
    assert site.get("/api/recordings?offset=-1").status == 400
    assert site.get("/api/recordings/drive/history?before=1%3B").status == 400
    assert site.get("/api/recordings/drive/masks?frames=999999999").content == {"masks": {}}


# --- what is answered ---


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/recordings/drive",
        "/datasets",
        "/login",
        "/api/recordings",
        "/api/datasets",
        "/nowhere",
        "/static/review.js",
        "/static/gone.js",
    ],
)
def test_every_answer_tells_the_browser_to_be_careful(site: Site, path: str) -> None:
    headers = site.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_pages_hold_no_script_or_style_of_their_own(site: Site) -> None:
    for path in ("/", "/recordings/drive", "/login"):
        page = site.request("GET", path, headers=PAGE).body.decode()
        assert "<style" not in page
        assert " style=" not in page
        assert "javascript:" not in page
        assert all('src="/static/' in part for part in page.split("<script")[1:])
        assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_faults_and_bugs_are_told_without_details(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "postgresql://lamm:secret-password@db/lamm"  # noqa: S105

    def fail(error: Exception) -> None:
        def failing(*_: object) -> None:
            raise error

        monkeypatch.setattr("lamm_pipeline.reports.reviews.reviews.Reviews.state", failing)

    for error, status in ((OSError(5, secret, secret), 503), (RuntimeError(secret), 500), (KeyError(secret), 500)):
        fail(error)
        found = site.get("/api/recordings/drive/state")
        assert found.status == status
        assert set(found.content) == {"error"}
        assert b"secret" not in found.body
        assert b"Traceback" not in found.body


def test_a_taken_port_and_a_foreign_address_are_sentences() -> None:
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        with pytest.raises(InputError, match="Choose another port"):
            listen(LOCAL, taken.getsockname()[1])
    with pytest.raises(InputError, match=r"no address|cannot listen"):
        listen("203.0.113.1", 0)
    with pytest.raises(InputError, match="no address"):
        listen("no.such.host.invalid", 0)


def test_nothing_of_the_package_can_be_read_from_static(site: Site) -> None:
    for target in (
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static//etc/passwd",
        "/static/",
        "/static",
    ):
        assert site.raw_get(target).status == 404
    assert site.raw_get("/static/review.js").status == 200


def test_a_silent_connection_does_not_stop_the_others(site: Site) -> None:
    with socket.create_connection((LOCAL, site.port)) as silent:
        silent.sendall(b"GET / HT")
        began = time.monotonic()
        assert site.get("/api/recordings").status == 200
        assert time.monotonic() - began < 30
