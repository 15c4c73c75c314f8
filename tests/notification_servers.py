"""A real mail server (aiosmtpd) and a real HTTP server in this process, which remember what they took."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


@dataclass
class Mailbox:
    """`answers` are used up before the server says 250. `who` is the user and password it asks for."""

    answers: list[str] = field(default_factory=list)
    who: tuple[bytes, bytes] | None = None
    taken: list[Message] = field(default_factory=list)
    url: str = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("unknown"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        self.taken.append(message_from_bytes(envelope.content))
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login, data.password) if isinstance(data, LoginPassword) else None
        return AuthResult(success=given == self.who, handled=False)  # the server answers 535


@contextmanager
def mail_server(who: tuple[bytes, bytes] | None = None, *answers: str) -> Iterator[Mailbox]:
    box = Mailbox(list(answers), who)
    more = {"authenticator": box.authenticate, "auth_required": True, "auth_require_tls": False} if who else {}
    with socket.socket() as free:  # the controller calls the port that it is given, to see whether it listens
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port, **more)  # type: ignore[arg-type]
    controller.start()
    try:
        user = f"{who[0].decode()}@" if who else ""
        box.url = f"smtp://{user}127.0.0.1:{port}"
        yield box
    finally:
        controller.stop()


@dataclass
class Hook:
    """`answers` are the status codes that come before 204."""

    answers: list[int] = field(default_factory=list)
    taken: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)  # (Idempotency-Key, body)
    asked: int = 0
    url: str = ""


@contextmanager
def webhook(*answers: int) -> Iterator[Hook]:
    hook = Hook(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.asked += 1
            code = hook.answers.pop(0) if hook.answers else 204
            if code == 204:
                hook.taken.append((self.headers["Idempotency-Key"], body))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook.url = f"http://127.0.0.1:{server.server_port}/hooks/T0KEN"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
