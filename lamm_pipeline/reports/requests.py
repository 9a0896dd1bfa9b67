"""What requests hold, read with sentences for whoever sent them."""

from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from lamm_pipeline.errors import InputError

PAGES = Path(__file__).parent / "pages"


async def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object that a request brings."""
    try:
        content = await request.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "The request is not JSON.") from None
    if not isinstance(content, dict):
        raise HTTPException(400, "The request is no JSON object.")
    return content


def number_of(request: Request, name: str) -> int | None:
    """A number of the address; None where it has none.

    Raises:
        InputError: it is something else.
    """
    given = request.query_params.get(name)
    if given is None:
        return None
    if not given.isascii() or not given.isdecimal() or len(given) > 18:
        raise InputError(f"`{name}` is a number.")
    return int(given)


def page(name: str, policy: str | None = None) -> Response:
    """One of our pages.

    Args:
        name: its file.
        policy: content security policy, where it is not that of all.
    """
    return FileResponse(PAGES / name, headers={} if policy is None else {"Content-Security-Policy": policy})
