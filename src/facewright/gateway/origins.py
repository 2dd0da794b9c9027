"""Which web pages may call: a browser lends the network position of whoever uses it to every page it shows.

A server without keys on loopback is open to whoever is at that machine, and so to every page that they look
at, in two ways. A page whose name is made to point at 127.0.0.1 (DNS rebinding) is of one origin with the
server to the browser; the ``Host`` header still has the page's name. Any page may send "simple" requests
anywhere (a photo as ``text/plain``), and only not read the answers; such requests have an ``Origin`` that is
not ours, and newer browsers say ``Sec-Fetch-Site``, which no page can set (Fetch Metadata; the rule is that
of Go's ``http.CrossOriginProtection``, for all methods, because ours compute).

Programs that are no browsers send neither header and are let pass: this is about pages, not a lock. gRPC is
    not
checked: it takes HTTP/2 from the first byte, which browsers speak over TLS only, and what comes without
``te: trailers``, a header that no page may set (Fetch standard, forbidden request-headers), reaches no
method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
#: scheme "://" host [ ":" port ]: what RFC 6454 (7) calls a serialised origin, and nothing behind it.
_ORIGIN: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#@\s]+)", re.IGNORECASE)
_PORT: Final = re.compile(r":\d*$")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
_MISDIRECTED, _FORBIDDEN = 421, 403  # RFC 9110, 15.5.20 and 15.5.4


@dataclass(frozen=True)
class PageRules:
    """Which pages may call.

    Attributes:
        hosts: what ``Host`` may be, in small letters, without ports; None: anything.
        origins: pages of other origins that may call and read the answers (CORS), or ``*`` for all.
    """

    hosts: frozenset[str] | None
    origins: frozenset[str] = frozenset()


def page_rules(
    listens_on: str, guarded: bool, hosts: Iterable[str] = (), origins: Iterable[str] = ()
) -> PageRules:
    """The rules of a server.

    ``Host`` is not checked where a page that is rebound here wins nothing: it has no key, and browsers add
    none by themselves; over TLS the certificate is not for its name; and a public server answers everybody
    anyway. Such servers stand behind proxies and balancers, under names that only these know. Of these cases
    only the last has a gap: a public server of a private network can be reached by pages through the browsers
    of its people. Naming hosts closes it: named, they are checked everywhere.

    Args:
        listens_on: address or name of ``--host``.
        guarded: whether one of these is so, by ``--keys``, TLS or ``--public``.
        hosts: of ``--allow-host``, without ports.
        origins: of ``--allow-origin``, as browsers send them: ``https://play.example``.

    Raises:
        FacewrightError: BAD_OPTION: one of them is no host or no origin.
    """
    allowed = frozenset(map(_checked_host, hosts))
    pages = frozenset(map(_checked_origin, origins))
    if guarded and not allowed:
        return PageRules(None, pages)
    return PageRules(allowed | {*_LOOPBACK, _bracketed(listens_on.lower())}, pages)


class OwnPagesOnly:
    """ASGI middleware that refuses pages that `PageRules` do not allow, and answers CORS for those they name.

    Args:
        app: what answers all others.
    """

    def __init__(self, app: ASGIApp, rules: PageRules) -> None:
        self._rules = rules
        self._app = app
        if rules.origins:
            # Every header, because nothing travels that a page does not set itself: no cookies, no
            # credentials.
            self._app = CORSMiddleware(
                app,
                tuple(rules.origins),
                _METHODS,
                allow_headers=("*",),
                expose_headers=("*",),
                allow_private_network=True,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # Before it was accepted: the server answers 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1].message})
        else:
            status, error = refusal
            # The body is not read; what is left of it must not be taken for the next request.
            headers = {"connection": "close"}
            response = Response(error.to_json(), status, headers, media_type="application/json")
            await response(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, FacewrightError] | None:
        headers = Headers(scope=scope)
        given = headers.getlist("host")
        host = given[0].lower() if len(given) == 1 else ""
        if self._rules.hosts is not None and _without_port(host) not in self._rules.hosts:
            return _MISDIRECTED, FacewrightError(
                ErrorCode.BAD_REQUEST,
                f"this server is not {_shown(host)}" if host else "there is no Host header, or several",
                "call it by an address that it listens on; --allow-host NAME adds one",
            )
        origins = headers.getlist("origin")
        if len(origins) > 1 or not self._allows(origins[0] if origins else None, host, headers, scope):
            page = _shown(origins[0]) if origins else "of another site"
            return _FORBIDDEN, FacewrightError(
                ErrorCode.BAD_REQUEST,
                f"the page {page} may not call this server",
                "--allow-origin ORIGIN lets its pages",
            )
        return None

    def _allows(self, origin: str | None, host: str, headers: Headers, scope: Scope) -> bool:
        if origin is not None and ("*" in self._rules.origins or origin.lower() in self._rules.origins):
            return True
        site = headers.get("sec-fetch-site")
        if site == "same-origin":
            return True  # the browser's own word, true behind proxies that change Host and scheme, too
        if site in (None, "none"):
            return origin is None or _same_origin(origin, host, encrypted=scope["scheme"] in ("https", "wss"))
        # Somebody followed a link, to the page that describes the service, say. No page can read what comes.
        return (
            origin is None
            and scope.get("method") in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )


def _same_origin(origin: str, host: str, encrypted: bool) -> bool:
    """Whether a page is our own, by the Host that it calls. A proxy may have taken TLS off, none has put it
    on.
    """
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None or found["scheme"] not in (("https",) if encrypted else ("http", "https")):
        return False
    default = _DEFAULT_PORTS[found["scheme"]]
    return found["authority"].removesuffix(default) == host.removesuffix(default)


def _without_port(host: str) -> str:
    return _PORT.sub("", host).removesuffix(".")


def _bracketed(host: str) -> str:
    """As it stands in ``Host``: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _checked_host(host: str) -> str:
    bare = _bracketed(host.lower())
    if not re.fullmatch(r"\[[0-9a-f:.]+\]|[a-z0-9_-]+(\.[a-z0-9_-]+)*", bare):
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"--allow-host {host!r} is no host",
            "give a name or an address, without port",
        )
    return bare


def _checked_origin(origin: str) -> str:
    if origin == "*" or _ORIGIN.fullmatch(origin):
        return origin.lower()
    raise FacewrightError(
        ErrorCode.BAD_OPTION,
        f"--allow-origin {origin!r} is no origin",
        "give it as browsers send it, https://play.example, without a path; * allows every page",
    )


def _shown(value: str) -> str:
    return repr(value[:100])
