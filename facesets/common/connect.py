"""To the scheduler of an existing Dask engine: over TLS, or on this machine only; with a bounded wait."""

import asyncio
import logging
import os
import re
import shlex
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import terminal
from .errors import Paused, SettingsError

if TYPE_CHECKING:
    from distributed import Client, Security

SECONDS = 30.0      # that a scheduler may take to answer
NAMES = ("cert.pem", "key.pem")
LARGE = "1 GB"      # of a task, from which Dask warns; a photo goes as bytes where a worker does not see it


@contextmanager
def connected(address: str, tls: Path | None, first: str, version: str,
              seconds: float = SECONDS) -> Iterator["Client"]:
    """A client of the scheduler at `address`; `tls` is a folder with cert.pem and key.pem (docs/cluster.md).

    The scheduler must know what travels through it: `first`, evaluated there, gives `version`. Raises SettingsError for
    an address that is none or not safe and for a scheduler of another version, Paused where nobody answers.
    """
    check(address, tls)
    try:
        import dask
        from distributed import Client, Security
    except ModuleNotFoundError as error:
        lock = Path(__file__).parents[2] / "requirements-cluster.txt"
        raise SettingsError(f"--scheduler needs {error.name}: {sys.executable} -m pip install --no-deps "
                            f"--require-hashes -r {lock}") from None
    for logger in ("distributed", "distributed.client", "tornado", "asyncio"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)        # what matters becomes one line of ours
    dask.config.set({"distributed.admin.large-graph-warning-threshold": LARGE,
                     "distributed.admin.low-level-log-length": 2})      # of whole messages, with the photos in them
    security = Security()
    if tls and address.startswith("tls:"):
        certificate, key = (str(tls / name) for name in NAMES)
        security = Security(tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key,
                            require_encryption=True)
    _introduce(address, security, seconds)
    try:
        client = Client(address, security=security, timeout=seconds, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise gone(address, error) from None
    try:
        try:
            theirs = ask(client, address, partial(client.run_on_scheduler, eval, first, asynchronous=True))
        except ImportError as error:
            raise SettingsError(f"the scheduler {address} was not started in a checkout of face-sets "
                                f"({terminal.safe(error)}); start it there, see docs/cluster.md") from None
        if theirs != version:
            raise SettingsError(f"the scheduler {address} runs another version of face-sets; give it this one and "
                                "start it again")
        yield client
    finally:
        with suppress(TimeoutError, OSError):
            client.close(timeout=5)


def _introduce(address: str, security: "Security", seconds: float) -> None:
    """Raise unless a scheduler answers at `address`, in time, that is safe to use and of our version."""
    from distributed import __version__
    from distributed.comm.core import FatalCommClosedError
    from distributed.core import rpc

    async def questions() -> tuple[str, str]:
        async with rpc(address, connection_args=security.get_connection_args("client"), timeout=seconds) as scheduler:
            listens = (await scheduler.identity())["address"]
            return listens, (await scheduler.versions(packages=[]))["packages"]["distributed"]

    try:
        listens, theirs = asyncio.run(asyncio.wait_for(questions(), seconds))
    except (ssl.SSLError, FatalCommClosedError) as error:
        why = terminal.safe(error.__cause__ or error, 100)
        raise SettingsError(f"--scheduler-tls: the certificates do not fit ({why}); every machine needs the same two "
                            "files, see docs/cluster.md") from None
    except OSError as error:        # also of time
        raise gone(address, str(error.__cause__ or error) or f"not within {seconds:.0f} s") from None
    except Exception as error:      # whatever reading the bytes of another service as those of a scheduler gives
        raise SettingsError(f"what answers at {address} is no scheduler of Dask that this one understands "
                            f"({type(error).__name__}: {terminal.safe(error, 100)})") from None
    if in_the_clear(address, listens):
        raise SettingsError(f"the scheduler {address} listens at {terminal.safe(listens)} without TLS, where whoever "
                            "is on the network may run programs as you: start it with --host 127.0.0.1, or over TLS, "
                            "see docs/cluster.md")
    if theirs != __version__:
        raise SettingsError(f"the scheduler {address} runs distributed {terminal.safe(theirs)}, here is {__version__}: "
                            "install requirements-cluster.txt there")


def ask(client: "Client", address: str, what: Callable[..., Awaitable[Any]], seconds: float = SECONDS,
        **words: Any) -> Any:
    """What the scheduler answers. Raises Paused where it does not."""
    try:
        return client.sync(what, callback_timeout=seconds, **words)
    except (OSError, RuntimeError, TimeoutError, ValueError, AttributeError) as error:  # the last two: client closed
        raise gone(address, error) from None


def gone(address: str, error: object = "") -> Paused:
    why = f" ({terminal.safe(error, 150)})" if str(error) else ""
    return Paused(f"the scheduler {address} does not answer{why}; everything is saved; start it, and its workers, "
                  "which end with it, see docs/cluster.md; then run the same command again")


def in_the_clear(scheduler: str, worker: str) -> str:
    """Why a worker of that scheduler is not to be used; "" where nobody else hears what goes to it."""
    if scheduler.startswith("tls:") or on_this_machine(worker):
        return ""
    return "is on another machine, and without TLS photos and faces would travel in the clear; see docs/cluster.md"


def on_this_machine(address: str) -> bool:
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check(address: str, tls: Path | None) -> None:
    """Raise SettingsError for an address that is none or not safe."""
    found = re.fullmatch(r"(?:tcp|tls)://(?:\[[0-9a-fA-F:.%\w]+\]|[^\s:/@\[\]]+):([0-9]{1,5})", address)
    if not found or not 0 < int(found[1]) < 1 << 16:
        raise SettingsError(f"--scheduler {terminal.safe(address)}: an address is tls://host:8786, or on this machine "
                            "tcp://127.0.0.1:8786")
    if address.startswith("tcp:"):
        if not on_this_machine(address):
            raise SettingsError(f"--scheduler {terminal.safe(address)}: without TLS only 127.0.0.1 is used, since "
                                "photos and faces would travel in the clear; docs/cluster.md makes certificates in "
                                "one command")
    elif tls is None:
        raise SettingsError(f"--scheduler {terminal.safe(address)}: --scheduler-tls names the folder of cert.pem and "
                            "key.pem, which docs/cluster.md makes in one command")
    elif missing := [name for name in NAMES if not (tls / name).is_file()]:
        raise SettingsError(f"--scheduler-tls {tls}: {' and '.join(missing)} missing; docs/cluster.md makes both "
                            "in one command")
    elif os.name == "posix" and (tls / "key.pem").stat().st_mode & 0o077:
        raise SettingsError(f"--scheduler-tls {tls}: key.pem can be read by others; run: chmod 600 "
                            f"{shlex.quote(str(tls / 'key.pem'))}")
