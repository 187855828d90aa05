"""To the scheduler of an existing Dask engine: over TLS, or on this machine only; with a bounded wait."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import terminal
from .errors import Paused, SettingsError

if TYPE_CHECKING:
    from distributed import Client

SECONDS = 30.0      # that a scheduler may take to answer
NAMES = ("cert.pem", "key.pem")
LARGE = "1 GB"      # of a task, from which Dask warns; a photo goes as bytes where a worker does not see it


@contextmanager
def connected(address: str, tls: Path | None, seconds: float = SECONDS) -> Iterator["Client"]:
    """A client of the scheduler at `address`; `tls` is a folder with cert.pem and key.pem (docs/cluster.md).

    Raises SettingsError for an address that is none or not safe, Paused where nobody answers.
    """
    check(address, tls)
    try:
        import dask
        from distributed import Client, Security, __version__
    except ModuleNotFoundError as error:
        raise SettingsError(f"--scheduler needs {error.name}; in this environment: python -m pip install --no-deps -r "
                            "requirements-cluster.txt") from None
    for logger in ("distributed", "distributed.client", "tornado", "asyncio"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)        # what matters becomes one line of ours
    dask.config.set({"distributed.admin.large-graph-warning-threshold": LARGE})
    security = None
    if tls and address.startswith("tls:"):
        certificate, key = (str(tls / name) for name in NAMES)
        security = Security(tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key,
                            require_encryption=True)
    try:
        client = Client(address, security=security, timeout=seconds, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise gone(address, error) from None
    try:
        theirs = client.sync(client.scheduler.versions, packages=[])["packages"]["distributed"]
        if theirs != __version__:
            raise SettingsError(f"the scheduler {address} runs distributed {terminal.safe(theirs)}, here is "
                                f"{__version__}: install requirements-cluster.txt there")
        yield client
    finally:
        with suppress(TimeoutError, OSError):
            client.close(timeout=5)


def workers(client: "Client", address: str) -> dict[str, dict[str, Any]]:
    """What the scheduler says of each worker, by an id of its process. Raises Paused where it is gone."""
    if client.status != "running":      # what it was asked for is lost, even where another one answers meanwhile
        raise gone(address)
    try:
        found = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=SECONDS)["workers"]
    except (OSError, TimeoutError, ValueError, AttributeError) as error:    # the last two: of a client that is closed
        raise gone(address, error) from None
    return {f"{worker} {about['local_directory']}": {**about, "address": worker} for worker, about in found.items()
            if about["status"] in ("running", "paused")}


def gone(address: str, error: object = "") -> Paused:
    why = f" ({terminal.safe(error, 150)})" if str(error) else ""
    return Paused(f"the scheduler {address} does not answer{why}; everything is saved; start it, see docs/cluster.md, "
                  "then run the same command again")


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
    elif tls is None or not all((tls / name).is_file() for name in NAMES):
        raise SettingsError(f"--scheduler {terminal.safe(address)}: --scheduler-tls names the folder of cert.pem and "
                            "key.pem; docs/cluster.md makes them in one command")
