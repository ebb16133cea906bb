"""Who may ask this server: the page that it served itself, on this machine or with a token."""

import hmac
import ipaddress
import json
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "innersight"
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+))(?::[0-9]{1,5})?")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware that answers only requests it can verify, and sends with every response what a page may do.

    host : the name listened on. A page of another site that resolves its own name to this machine sends that name as
        Host and is refused (421); a page of another site that sends requests here names itself as Origin and is
        refused (403).
    token : where not None, every request must bring it: as `Authorization: Bearer TOKEN`, as the cookie, or once as
        `/?token=TOKEN`, which sets the cookie. Without it the answer is 401. The machine may then be called by any of
        its names: a page of another site has no token, whatever name it resolves to this machine.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str | None) -> None:
        self.app = app
        self.host = host
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    sent.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, headed)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host_name(host)
        if name is None or (self.token is None and not known_host(name, self.host)):
            return problem(421, "This server answers only requests addressed to this machine.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"{scope['scheme']}://{host}".lower():
            return problem(403, "This server refuses requests from pages of other sites.")
        if self.token is None or self._brings_token(headers):
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["path"] == "/" and scope["method"] == "GET" and self._is_token(query.get("token", "")):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
            return answer
        return problem(401, "A token is needed: open the address that `innersight view` printed.")

    def _brings_token(self, headers: Headers) -> bool:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(bearer.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, text: str) -> bool:
        given = text.encode(errors="surrogatepass")
        return self.token is not None and hmac.compare_digest(given, self.token.encode())


def problem(status: int, detail: str) -> Response:
    """Return an error as every part of this server words it: `{"detail": sentence}`."""
    # Half a character, as in a request or a damaged file, can be sent escaped only.
    return Response(json.dumps({"detail": detail}), status, media_type="application/json")


def loopback(host: str) -> bool:
    """Say whether only this machine can reach a server that listens on `host`.

    >>> [loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_name(header: str) -> str | None:
    """Return the name in a Host header, without its port; None for what is no such header.

    >>> [host_name(text) for text in ("[::1]:8765", "Studio.local.", "a b", "[::1")]
    ['::1', 'studio.local', None, None]
    """
    found = _HOST.fullmatch(header)
    return (found[1] or found[2]).lower().rstrip(".") if found else None


def known_host(name: str, host: str) -> bool:
    """Say whether a name is `host`, localhost or an IP address, which no site can take as its name."""
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
