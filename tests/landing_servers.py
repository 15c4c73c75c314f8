"""Real servers for landing zones: OpenSSH and asyncssh for SFTP, moto and versitygw for S3."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from resources.zone_s3 import S3Access, s3_client

USER, PASSWORD = "sender", "letmein-please"
SSHD = shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd",) if Path(p).exists()), None)
BUILT = sorted((Path(__file__).parent.parent / ".tools").glob("versitygw-v*"))  # by `make versitygw`
VERSITYGW = str(BUILT[-1]) if BUILT else shutil.which("versitygw")
SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups {startups}
MaxSessions {sessions}
Subsystem sftp internal-sftp
"""


@dataclass
class SftpServer:
    """`private_key` logs in; `host_key` is the server's public key, one line; files lie in `root`."""

    port: int
    root: Path
    host_key: str
    private_key: bytes
    user: str
    process: subprocess.Popen[bytes] | None = None
    stop: Callable[[], None] = field(default=lambda: None)

    def start_again(self) -> None:
        """sshd, on the port and with the keys that it had."""
        assert SSHD is not None
        config = self.root.parent / "sshd_config"
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
        await_port(self.port)

    @property
    def uri(self) -> str:
        return f"sftp://{self.user}@127.0.0.1:{self.port}{self.folder}"

    @property
    def folder(self) -> str:
        return str(self.root) if self.process is not None else "/in"


def _new_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


@contextmanager
def openssh_server(folder: Path, startups: str = "10:30:100", sessions: int = 10) -> Iterator[SftpServer]:
    """Debian's sshd on a free port, ended by its process id."""
    assert SSHD is not None
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "in"
    root.mkdir()
    host, login = _new_key(), _new_key()
    host.write_private_key(str(folder / "host_key"))
    (folder / "host_key").chmod(0o600)
    login.write_private_key(str(folder / "login_key"))
    (folder / "login_key").chmod(0o600)
    (folder / "authorized_keys").write_bytes(login.export_public_key())
    port = free_port()
    config = SSHD_CONFIG.format(port=port, folder=folder, startups=startups, sessions=sessions)
    (folder / "sshd_config").write_text(config)
    Path("/run/sshd").mkdir(exist_ok=True)
    public = host.export_public_key().decode().strip()
    private = (folder / "login_key").read_bytes()
    server = SftpServer(port, root, public, private, os.environ.get("USER") or "root")
    try:
        server.start_again()
        yield server
    finally:
        if server.process is not None:  # the newest: one that was killed has been waited for
            for child in children(server.process.pid):
                with_suppressed_kill(child)
            server.process.kill()
            server.process.wait()


def put_by_sftp(server: SftpServer, *files: Path) -> None:
    """By OpenSSH's own `sftp`, as a sender would; CalledProcessError where it cannot, and then nothing further."""
    batch = "".join(f'put "{file}" "{server.root}/{file.name}"\n' for file in files)
    by_sftp(server, batch)


def by_sftp(server: SftpServer, batch: str) -> None:
    """Commands of `sftp`, a line each."""
    key = server.root.parent / "login_key"
    command = ["sftp", "-q", "-b", "-", "-i", str(key), "-P", str(server.port), "-o", "StrictHostKeyChecking=no",
               "-o", "UserKnownHostsFile=/dev/null", f"{server.user}@127.0.0.1"]  # fmt: skip
    subprocess.run(command, input=batch.encode(), check=True, capture_output=True)


RCLONE = shutil.which("rclone")


def by_rclone(server: S3Server, *command: str | Path) -> None:
    """A command of rclone, as a sender would give it; the server is `land:`."""
    assert RCLONE is not None
    access = server.access
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": access.endpoint, "ACCESS_KEY_ID": access.access_key_id,
        "SECRET_ACCESS_KEY": access.secret_access_key, "REGION": access.region, "NO_CHECK_BUCKET": "true",
    }  # fmt: skip
    # Whatever else is said there of AWS is not of this server; rclone stops at a bundle of authorities.
    env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    env |= {f"RCLONE_CONFIG_LAND_{key}": str(value) for key, value in remote.items()}
    given = [RCLONE, "--config", "/dev/null", "--retries", "1", *map(str, command)]
    subprocess.run(given, env=env, check=True, capture_output=True)


def children(pid: int) -> list[int]:
    """The processes that sshd made for its connections."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    own = [int(line) for line in found.stdout.split()]
    return [each for child in own for each in (*children(child), child)]


def with_suppressed_kill(pid: int, by: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, by)
    except ProcessLookupError:
        return


class _Login(asyncssh.SSHServer):
    def __init__(self, key: asyncssh.SSHKey) -> None:
        self._key = key

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == self._key.public_data


@contextmanager
def light_sftp_server(
    folder: Path, sftp: Callable[..., asyncssh.SFTPServer] = asyncssh.SFTPServer, port: int = 0
) -> Iterator[SftpServer]:
    """asyncssh's server in a thread; logs in by password or key. `sftp` may misbehave as the test likes."""
    root = folder / "in"
    root.mkdir(parents=True, exist_ok=True)
    host, login = _new_key(), _new_key()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: _Login(login), "127.0.0.1", port, server_host_keys=[host],
            sftp_factory=lambda channel: sftp(channel, chroot=str(folder).encode()),
        )  # fmt: skip

    async def end() -> None:
        server.close()
        await server.wait_closed()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    public = host.export_public_key().decode().strip()
    try:
        yield SftpServer(server.get_port(), root, public, login.export_private_key(), USER)
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True)
class S3Server:
    """`access` reaches it; `process` is None where it runs in a thread."""

    access: S3Access
    process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Any:
        return s3_client(self.access)

    def bucket(self, name: str, versioned: bool = False) -> str:
        client = self.client
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@contextmanager
def moto_server() -> Iterator[S3Server]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield S3Server(S3Access(f"http://127.0.0.1:{port}", "key", "secret-of-a-test", None, "us-east-1"))
    finally:
        server.stop()


@contextmanager
def versity_server(folder: Path) -> Iterator[S3Server]:
    """versitygw over a folder, with versions kept beside it; it refuses a wrong secret."""
    assert VERSITYGW is not None
    (folder / "objects").mkdir(parents=True)
    (folder / "versions").mkdir()
    port = free_port()
    process = subprocess.Popen(
        [VERSITYGW, "--access", "key", "--secret", "secret-of-a-test", "--port", f"127.0.0.1:{port}", "--quiet",
         "posix", "--versioning-dir", folder / "versions", folder / "objects"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await_port(port)
        yield S3Server(S3Access(f"http://127.0.0.1:{port}", "key", "secret-of-a-test", None, "us-east-1"), process)
    finally:
        process.kill()
        process.wait()


@dataclass
class Throttle:
    """A way to a server. The first `free` bytes of its answers come as they are, the rest at `rate` bytes a second;
    None lets all through. `passed` counts them."""

    port: int = 0
    rate: int | None = None
    free: int = 0
    passed: int = 0


@contextmanager
def slow_way(to: int) -> Iterator[Throttle]:
    """A proxy on a port of its own before the port `to`."""
    way, ended = Throttle(), threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    way.port = int(listening.getsockname()[1])
    opened: list[socket.socket] = [listening]

    def pump(source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set() and (data := source.recv(max(1, min(65536, (way.rate or 655360) // 10)))):
                sink.sendall(data)
                way.passed += len(data) * answers
                if answers and way.rate is not None:
                    way.free -= len(data)
                    if way.free < 0:
                        ended.wait(len(data) / way.rate)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listening.accept()[0]
                server = socket.socket()
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # what is on its way is not slow
                server.connect(("127.0.0.1", to))
                opened.extend((client, server))
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield way
    finally:
        ended.set()
        for each in opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port} after {seconds} s")
