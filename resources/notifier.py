"""Telling people and programs outside: e-mail over SMTP, webhooks over HTTP. No address stands in an error or log.

    NotAccepted            the other side will not take it, or the address is none: no other try helps
    NotDelivered           it did not answer, or not now (transient)
    NotSetUp               this platform lacks the setting or secret it needs (transient: somebody will give it)
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from urllib.parse import unquote, urlsplit

from resources.failures import Transient
from resources.secrets import SecretMissing, SecretResolver
from resources.settings import Settings

TIMEOUT_SECONDS = 10.0
SECRET = "secret:"  # noqa: S105 - before the name of a secret that holds the address
PASSWORD = "DATALAKE_SMTP_PASSWORD"  # noqa: S105 - the name of a secret
_NOT_NOW = (408, 425, 429)
EMAIL, WEBHOOK = "email", "webhook"


class NotAccepted(Exception):
    """The message was refused for good."""


class NotDelivered(Transient):
    """The server did not take the message this time."""


class NotSetUp(Transient):
    """Nothing is sent until it is set up."""


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends one message at a time, a connection each: a job tells few people, and rarely."""

    settings: Settings

    def send(self, kind: str, address: str, identity: str, subject: str, body: Mapping[str, object]) -> None:
        """Returns once the other side has taken the message. `identity` goes with it: Message-ID, Idempotency-Key."""
        if kind == EMAIL:
            self._mail(address, identity, subject, str(body["text"]))
        else:
            self._post(self._url(address), identity, body)

    def _mail(self, address: str, identity: str, subject: str, text: str) -> None:
        if self.settings.smtp is None or self.settings.mail_from is None:
            raise NotSetUp("DATALAKE_SMTP and DATALAKE_MAIL_FROM are not both set")
        sender = self.settings.mail_from
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, address, subject
        message["Date"] = formatdate()
        domain = parseaddr(sender)[1].partition("@")[2] or "localhost"
        message["Message-ID"] = f"<{identity}@{domain}>" if domain.isascii() else make_msgid(identity)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
        message.set_content(text)
        try:
            with self._connection() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise _by_code(max(code for code, _ in error.recipients.values())) from None
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPSenderRefused, smtplib.SMTPConnectError) as error:
            text = f"the mail server does not take mail from us ({error.smtp_code}): DATALAKE_MAIL_FROM or {PASSWORD}"
            raise NotSetUp(text) from None
        except smtplib.SMTPResponseException as error:
            raise _by_code(int(error.smtp_code)) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"the mail server did not take it: {type(error).__name__}") from None
        if refused:
            raise NotAccepted("the mail server does not know the recipient")

    def _connection(self) -> smtplib.SMTP:
        """`smtp://[user@]host[:port]`, `smtp+starttls://…` or `smtps://…`; certificates are verified."""
        at = urlsplit(self.settings.smtp or "")
        host = at.hostname or "localhost"
        if at.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, at.port or 465, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, at.port or (587 if "starttls" in at.scheme else 25), timeout=TIMEOUT_SECONDS)
        try:
            if at.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if at.username:
                server.login(unquote(at.username), self._secret(PASSWORD))
        except BaseException:
            server.close()
            raise
        return server

    def _post(self, url: str, identity: str, body: Mapping[str, object]) -> None:
        import requests  # a quarter of a second; most processes never post

        if urlsplit(url).scheme not in ("http", "https"):
            raise NotAccepted("the address is no http or https URL")
        headers = {"Idempotency-Key": identity, "User-Agent": "datalake"}
        try:
            answer = requests.post(
                url,
                json=dict(body),  # type: ignore[arg-type]  # plain data
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,  # whatever else it says is not read: it need not end
            )
            answer.close()
        except (requests.ConnectionError, requests.Timeout) as error:
            raise NotDelivered(f"the webhook did not answer: {type(error).__name__}") from None
        except requests.RequestException as error:
            raise NotAccepted(f"the webhook cannot be called: {type(error).__name__}") from None
        if answer.status_code in _NOT_NOW or answer.status_code >= 500:
            raise NotDelivered(f"the webhook answered {answer.status_code}")
        if not answer.ok or answer.is_redirect:
            raise NotAccepted(f"the webhook answered {answer.status_code}")

    def _url(self, address: str) -> str:
        return self._secret(address.removeprefix(SECRET)).strip() if address.startswith(SECRET) else address

    def _secret(self, name: str) -> str:
        try:
            return SecretResolver(self.settings.secrets).key(name).decode()
        except SecretMissing as error:
            raise NotSetUp(str(error)) from None
        except UnicodeDecodeError:
            raise NotAccepted(f"secret '{name}' is no text") from None


def _by_code(code: int) -> Exception:
    """An answer of 5yz is for good, one of 4yz for now (RFC 5321, 4.2.1)."""
    refused = 500 <= code < 600
    return (NotAccepted if refused else NotDelivered)(f"the mail server answered {code}")
