"""What every request has to pass before anything of it is read, and what every answer says to the browser.

The server is for people in browsers, so its enemies are other pages in the same browser: one that posts to us (stopped by `Origin`, by
`Sec-Fetch-Site` and by a header that no foreign page can set), one whose name was pointed at this machine (DNS rebinding, stopped by
`Host`), one that shows ours in a frame. On an address that other machines reach, every request also needs the token.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lamm_pipeline.errors import InputError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
TOKEN_VARIABLE = "LAMM_REPORT_TOKEN"  # noqa: S105  the variable's name
MIN_TOKEN = 16
MAX_BODY = 256 * 1024
BODY_SECONDS = 30
COOKIE = "lamm_report"
WRITE_HEADER = "x-lamm-review"
"""Pages of other origins cannot set it without asking first, and nobody answers them."""

LOGIN = "/login"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Access:
    """Who may talk to the server.

    Attributes:
        hosts: names that a request may be addressed to, without port; None = any.
        token: what a request must show that it knows; None = nothing.
    """

    hosts: frozenset[str] | None
    token: str | None

    @property
    def cookie(self) -> str | None:
        """What a browser keeps instead of the token."""
        return None if self.token is None else hmac.new(self.token.encode(), b"lamm report server", hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes equally long for every wrong one."""
        return self.token is not None and hmac.compare_digest(_digest(given), _digest(self.token))

    def is_cookie(self, given: str) -> bool:
        """Whether a browser got this from us; takes equally long for every wrong one."""
        return self.cookie is not None and hmac.compare_digest(_digest(given), _digest(self.cookie))


def access_for(host: str, token: str | None) -> Access:
    """Who may talk to a server that listens on this address.

    Raises:
        InputError: other machines reach the address and there is no token, or the token can be guessed.
    """
    if token is not None and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
        raise InputError(
            f"{TOKEN_VARIABLE} is no token: give it at least {MIN_TOKEN} ASCII characters, such as `openssl rand -hex 24` prints."
        )
    name = f"[{host}]" if ":" in host else host
    if name in LOOPBACK:
        return Access(LOOPBACK, token)
    if token is None:
        raise InputError(
            f"Other machines reach {host}, so the report server wants a token there: set {TOKEN_VARIABLE} to at least {MIN_TOKEN} "
            "characters, or stay on 127.0.0.1."
        )
    return Access(None, token)


def page_policy(image_sources: Iterable[str] = ()) -> str:
    """Content security policy of our pages: nothing but our own files, no script or style within a page.

    Args:
        image_sources: origins that images are redirected to, beside ours: the bucket's.
    """
    images = " ".join(["'self'", *image_sources])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


class Guard:
    """Lets only those requests through that `Access` allows, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access
        self.headers = {
            "Content-Security-Policy": page_policy(),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refused = _wrong_host(headers, self.access) or self._stranger(scope, headers) or _foreign_write(scope["method"], headers)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        await self.app(scope, _limited(receive), send_guarded)

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a request that does not show that it knows the token."""
        path = str(scope["path"])
        if self.access.token is None or path == LOGIN or path.startswith("/static/"):
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.access.is_token(given.strip()):
            return None
        if self.access.is_cookie(_cookie(headers)):
            return None
        if scope["method"] in _READS and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"{LOGIN}?next={quote(path)}", 303)
        return _refusal(401, "This server wants a token: open its page in a browser, or send `Authorization: Bearer TOKEN`.")


def _wrong_host(headers: Headers, access: Access) -> Response | None:
    given = headers.getlist("host")
    matched = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if matched is None:
        return _refusal(400, "The request does not say which host it is for.")
    if access.hosts is not None and matched[1].lower() not in access.hosts:
        return _refusal(421, "This server answers to 127.0.0.1 and localhost only.")
    return None


def _foreign_write(method: str, headers: Headers) -> Response | None:
    """The answer to a request that would change something and may come from a page that is not ours."""
    if method in _READS:
        return None
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers["host"].lower():
        return _refusal(403, "Pages of other origins may not change anything here.")
    if headers.get("sec-fetch-site", "same-origin") != "same-origin" or headers.get(WRITE_HEADER) != "1":
        return _refusal(403, f"What changes something needs the header {WRITE_HEADER}: 1 and comes from our own pages.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _refusal(415, "Send JSON as application/json.")
    if not headers.get("content-length", "0").isdecimal() or int(headers.get("content-length", "0")) > MAX_BODY:
        return _too_large()
    return None


def _limited(receive: Receive) -> Receive:
    """`receive` for bodies of limited size and patience."""
    seen, more = 0, True

    async def limited() -> Message:
        nonlocal seen, more
        if not more:  # what comes now is that the browser has gone
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_SECONDS)
        except TimeoutError:
            raise HTTPException(408, "The request does not end.") from None
        seen += len(message.get("body", b""))
        more = bool(message.get("more_body", False))
        if seen > MAX_BODY:
            raise HTTPException(413, _LARGEST)
        return message

    return limited


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


_LARGEST = f"A request has at most {MAX_BODY // 1024} KiB."


def _too_large() -> Response:
    return _refusal(413, _LARGEST)


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _digest(text: str) -> bytes:
    """Equally long for all texts, so that a comparison does not tell the length."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
