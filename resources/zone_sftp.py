"""A folder of an SFTP server as a landing zone, by asyncssh.

The server's key is checked always: against the `hostKey` of the definition, else the known_hosts file of the user of
the run. Every call has a time limit that runs anew with each answer, so a hung server never holds a run for long.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from resources.secrets import SecretMissing
from resources.zone import CHUNK, PATIENCE, ChangedWhileRead, Pace, Sighting, ZoneRefused, ZoneUnreachable, printable

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")
SOME = 1000  # entries taken from the server's answers at once
FINGERPRINT = "SHA256:"


@dataclass(frozen=True, slots=True)
class SftpAccess:
    """Who logs in, how, and which key the server must have: a public key line, or SHA256:<fingerprint>."""

    secret: bytes | None = None
    secret_ref: str = ""
    host_key: str | None = None


class SftpZone:
    """The files of one folder; connected when first needed."""

    def __init__(self, uri: str, access: SftpAccess, patience: float = PATIENCE) -> None:
        parts = urlsplit(uri)
        self.uri = uri
        self.host, self.port, self.user = parts.hostname or "", parts.port or 22, parts.username
        self._place = f"sftp://{self.host}:{self.port}"
        self._folder = unquote_to_bytes(parts.path.rstrip("/") or "/")
        self._access = access
        self._patience = patience
        self._runner: asyncio.Runner | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None

    def entries(self) -> Iterator[Sighting]:
        with self._told(None):
            listing = self._sftp().scandir(self._folder)
            while found := self._run(_some(listing, SOME)):
                for entry in found:
                    name = entry.filename if isinstance(entry.filename, bytes) else os.fsencode(entry.filename)
                    if name not in (b".", b".."):
                        yield self._sighting(name, entry.attrs)

    def find(self, name: str) -> Sighting | None:
        if "/" in name:
            return None
        try:
            with self._told(name):
                found = self._run(self._sftp().lstat(self._path(name.encode())))
        except OSError:  # nothing can be found there: none such, no right, or longer than a name can be
            return None
        return self._sighting(name.encode(), found)

    def read(self, seen: Sighting, start: int = 0) -> Iterator[bytes]:
        path = unquote_to_bytes(urlsplit(seen.uri).path)
        with self._told(seen.name):
            file: Any = self._run(_opened(self._sftp(), path))
            pace = Pace(self._place)
            try:
                _same(self._run(file.stat()), seen)
                while start < seen.size:
                    size = min(CHUNK, seen.size - start)
                    yield from self._window(file, start, size, pace)
                    start += size
                _same(self._run(file.stat()), seen)
            finally:
                self._quietly(file.close())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            self._quietly(self._connection.wait_closed())
            self._connection = self._client = None
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _window(self, file: Any, start: int, size: int, pace: Pace) -> Iterator[bytes]:
        """A piece of a file, asked for in parallel blocks; each block is waited for with the patience of a call.

        What came before the server was lost is given first, then that is raised.
        """
        blocks = self._run(file.read_parallel(size, start))
        window = bytearray(size)
        lengths: dict[int, int] = {}
        try:
            while found := pace.await_bytes(lambda: self._run(_some(blocks, 1)), _length):
                at, data = found[0]
                window[at - start : at - start + len(data)] = data
                lengths[at - start] = len(data)
        except Exception:
            if whole := _whole_from_start(lengths):
                yield bytes(window[:whole])
            raise
        if sum(lengths.values()) != size:
            raise ChangedWhileRead("the file became shorter while it was copied; it is taken once it stays as it is")
        yield bytes(window)

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        if self._runner is None:
            self._runner = asyncio.Runner()
            # Blocks that were asked for and are waited for no more: nobody is to be told how they ended.
            self._runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        return self._runner.run(_limited(call, self._patience))

    def _quietly(self, call: Coroutine[Any, Any, Any]) -> None:
        """A goodbye that the server may not hear any more."""
        import asyncssh

        try:
            if self._runner is not None:
                self._runner.run(_limited(call, min(self._patience, 2.0)))
            else:
                call.close()
        except (OSError, TimeoutError, asyncssh.Error):
            return

    def _sftp(self) -> asyncssh.SFTPClient:
        if self._client is None:
            self._connection = self._run(self._connected())
            self._client = self._run(_started(self._connection))
        return self._client

    async def _connected(self) -> asyncssh.SSHClientConnection:
        import asyncssh

        secret, login = self._access.secret, dict[str, Any](password=None, client_keys=None)
        if secret is not None and secret.lstrip().startswith(b"-----BEGIN"):
            try:
                login["client_keys"] = [asyncssh.import_private_key(secret)]
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
                raise SecretMissing(
                    f"secret '{self._access.secret_ref}' is no private key that can be used: OpenSSH or PEM, without a "
                    "passphrase"
                ) from error
        elif secret is not None:
            try:
                login["password"] = secret.decode()
            except UnicodeDecodeError:
                told = f"secret '{self._access.secret_ref}' is no password that can be used: it is no UTF-8 text"
                raise SecretMissing(told) from None
        pinned = self._access.host_key
        trusted: Any = ([], [], []) if pinned else str(Path("~/.ssh/known_hosts").expanduser())
        if not pinned and not Path(trusted).is_file():
            trusted = ([], [], [])
        return await asyncssh.connect(
            self.host,
            self.port,
            username=self.user or "",
            known_hosts=trusted,
            client_factory=lambda: _checked(pinned),
            config=None,
            agent_path=None,
            x509_trusted_certs=None,
            connect_timeout=self._patience,
            login_timeout=self._patience,
            **login,
        )

    def _path(self, name: bytes) -> bytes:
        return self._folder.rstrip(b"/") + b"/" + name

    def _sighting(self, name: bytes, found: asyncssh.SFTPAttrs) -> Sighting:
        mode = found.permissions or 0
        regular = stat.S_ISREG(mode) and b"/" not in name  # a link may lead to what the sender himself may not read
        modified = float(found.mtime or 0)
        uri = self._place + quote(self._path(name))
        return Sighting(printable(name), uri, found.size or 0, str(found.mtime), modified, regular)

    @contextmanager
    def _told(self, name: str | None) -> Iterator[None]:
        """Says what asyncssh raises in our own words; `name` is the file it is about, None for the zone itself."""
        import asyncssh

        try:
            yield
        except asyncssh.HostKeyNotVerifiable as error:
            raise ZoneRefused(
                f"{self._place}: the server's key is not the one we know; ask its owner whether it was changed, and "
                "only then put the new one into hostKey (or known_hosts)"
            ) from error
        except asyncssh.PermissionDenied as error:
            who = self.user or "the user of the run"
            raise ZoneRefused(f"{self._place}: the server does not let {who} in; check secretRef and user") from error
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
            if name is not None:
                raise FileNotFoundError(errno.ENOENT, "No such file", name) from error
            raise ZoneRefused(f"{self.uri}: there is no such folder; make it, or correct the uri") from error
        except asyncssh.SFTPPermissionDenied as error:
            if name is not None:
                raise PermissionError(errno.EACCES, "Permission denied", name) from error
            raise ZoneRefused(f"{self.uri}: the user may not list the folder; give it the right") from error
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            raise self._lost(error) from error
        except asyncssh.SFTPError as error:
            if name is not None:
                raise OSError(errno.EIO, f"the SFTP server cannot read it ({type(error).__name__})", name) from error
            raise ZoneRefused(f"{self.uri}: the server cannot list the folder ({type(error).__name__})") from error
        except (asyncssh.Error, TimeoutError, ConnectionError) as error:
            raise self._lost(error) from error
        except OSError as error:
            if isinstance(error, (FileNotFoundError, PermissionError)):
                raise
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> ZoneUnreachable:
        # A connection that timed out may answer later what nobody asks for any more.
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._client = None
        return ZoneUnreachable(f"{self._place}: the server does not answer ({type(error).__name__}); it is tried again")


def _checked(pinned: str | None) -> asyncssh.SSHClient:
    import asyncssh

    class Checked(asyncssh.SSHClient):
        """Holds the server's key against the one of the definition."""

        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            if pinned is None:
                return False
            if pinned.startswith(FINGERPRINT):
                return key.get_fingerprint("sha256") == pinned
            try:
                return key.public_data == asyncssh.import_public_key(pinned).public_data
            except asyncssh.KeyImportError:
                return False

    return Checked()


async def _started(connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
    return await connection.start_sftp_client()


async def _opened(client: asyncssh.SFTPClient, path: bytes) -> Any:
    """ChangedWhileRead where a link took the file's place: the server follows it to what the sender may not read."""
    file = await client.open(path, "rb", encoding=None)
    if not stat.S_ISREG((await client.lstat(path)).permissions or 0):
        await file.close()
        raise ChangedWhileRead("the file gave way to what is none; it is taken once it is a file again")
    return file


async def _limited(call: Coroutine[Any, Any, T], seconds: float) -> T:
    return await asyncio.wait_for(call, seconds)


async def _some(found: AsyncIterator[T], most: int) -> list[T]:
    """The next elements, at most `most`; none at the end."""
    taken: list[T] = []
    async for each in found:
        taken.append(each)
        if len(taken) == most:
            break
    return taken


def _length(blocks: list[tuple[int, bytes]]) -> int:
    return sum(len(data) for _, data in blocks)


def _whole_from_start(lengths: dict[int, int]) -> int:
    """How far blocks, {offset: length} in any order, reach without a gap."""
    end = 0
    while length := lengths.get(end):
        end += length
    return end


def _same(found: asyncssh.SFTPAttrs, seen: Sighting) -> None:
    if (found.size, str(found.mtime)) != (seen.size, seen.version):
        raise ChangedWhileRead("the file changed while it was copied; it is taken once it stays as it is")
