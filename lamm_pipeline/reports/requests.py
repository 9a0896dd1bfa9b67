"""What requests hold, read with sentences for whoever sent them."""

from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.reports.files import is_partition

PAGES = Path(__file__).parent / "pages"
MAX_ACTOR = 200


async def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object that a request brings."""
    try:
        content = await request.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "The request is not JSON.") from None
    if not isinstance(content, dict):
        raise HTTPException(400, "The request is no JSON object.")
    return content


def actor_of(content: Mapping[str, Any]) -> str:
    """Who sends a request that changes something.

    Raises:
        InputError: it does not say.
    """
    name = content.get("actor")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_ACTOR or not name.isprintable():
        raise InputError(f"`actor` says who decides: a name of 1 to {MAX_ACTOR} characters.")
    return name.strip()


def recording_of(request: Request, catalog: Catalog) -> str:
    """Key of the recording that an address names; refuses those that are none."""
    key = str(request.path_params["recording"])
    if not is_partition(key) or not catalog.recordings.has(key):
        raise HTTPException(404, "There is no such recording.")
    return key


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


def file_or_missing(response: Response | None) -> Response:
    """The file that was asked for; refuses where there is none."""
    if response is None:
        raise HTTPException(404, "There is no such file.")
    return response
