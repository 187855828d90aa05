"""What went wrong on the way to the server, in words that say what to do, without keys or addresses of memory."""

import re
from collections.abc import Mapping
from typing import Any

import requests
import urllib3

from ..common import terminal


def no_url(error: Exception, proxies: Mapping[str, str]) -> str:
    """What to do about an address that cannot be asked: the server's, or that of a proxy."""
    if "SOCKS" in str(error):
        return ("the environment sets a SOCKS proxy, which needs PySocks: .venv/bin/python -m pip install pysocks; "
                "no_proxy=HOST goes without a proxy")
    if proxies and isinstance(error, (requests.exceptions.InvalidProxyURL, urllib3.exceptions.ProxySchemeUnknown)):
        return "the proxy that the environment sets is no URL such as http://proxy.example.org:3128; see http_proxy, " \
               "https_proxy and all_proxy"
    return f"IMMICH_URL is no URL that can be asked ({type(error).__name__})"


def not_json(response: requests.Response, data: bytes) -> str:
    what = "a web page" if is_page(response, data) else "something other than JSON"
    return f"it answers with {what}, as a login page of a proxy does"


def is_page(response: requests.Response, data: bytes) -> bool:
    return "html" in response.headers.get("Content-Type", "") or data.lstrip()[:1] == b"<"


def words(error: BaseException) -> str:
    """A network error in a few words, without addresses of memory or headers."""
    chain: list[BaseException] = []
    queue: list[Any] = [error]
    while queue and len(chain) < 20:
        one = queue.pop(0)
        if isinstance(one, BaseException) and one not in chain:
            chain.append(one)
            queue += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
    text = " ".join(f"{type(one).__name__} {one}" for one in chain)
    for sign, meaning in SIGNS:
        if re.search(sign, text):
            return meaning
    return terminal.safe(type(chain[-1]).__name__, 60)


SIGNS = (
    ("hostname mismatch|doesn't match|IP address mismatch", "its certificate is for another host name"),
    ("certificate has expired", "its certificate has expired"),
    ("self.signed|unable to get local issuer",
     "its certificate is not signed by an authority known here; --ca-file names your own"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate cannot be verified; --ca-file names your own authority"),
    ("ProxyError", "the proxy that the environment sets does not let us through; no_proxy=HOST goes without it"),
    ("SSLError", "TLS fails; is it https that the server speaks there?"),
    ("NameResolutionError", "its name is not known (DNS)"),
    ("ConnectTimeout", "no connection in time"),
    ("refused", "connection refused"),
    ("timed out", "no answer in time"),
    ("reset by peer", "connection reset"),
    ("IncompleteRead", "cut off"),
    ("RemoteDisconnected", "connection closed without an answer"),
    ("unreachable", "network unreachable"),
    ("No route to host", "no route to the host"),
)
