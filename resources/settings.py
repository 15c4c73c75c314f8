"""Where things are, from the environment. Read once, by the composition root and the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENGINES = ("sail", "spark")
MAIL_SERVERS = ("smtp://", "smtp+starttls://", "smtps://")
LEDGERS = ("sqlite:///", "postgresql+psycopg2://")


class SettingsError(Exception):
    """A setting that cannot be used; says which, what it was and what is valid."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`config` holds the definitions, `data` is the lake root; `applications` empty means all.

    `secrets` is the folder of secret files. It travels to the workers of an engine, whose environment may be another.
    `smtp` is the URL of the mail server that notifications go to, from the address `mail_from`.
    `ledger` is the URL of its database, None for SQLite in the lake root; passwords come from PGPASSFILE or PGPASSWORD.
    """

    config: Path
    data: Path
    engine: str = "sail"
    spark_remote: str | None = None
    environment: str = "dev"
    applications: tuple[str, ...] = ()
    secrets: Path | None = None
    ledger: str | None = None
    smtp: str | None = None
    mail_from: str | None = None

    @staticmethod
    def from_environment(env: Mapping[str, str] | None = None) -> Settings:
        """DATALAKE_CONFIG, DATALAKE_DATA, DATALAKE_ENGINE, DATALAKE_SPARK_REMOTE, DATALAKE_ENV, DATALAKE_APPLICATIONS,
        DATALAKE_SECRETS, DATALAKE_LEDGER, DATALAKE_SMTP, DATALAKE_MAIL_FROM.
        """
        env = os.environ if env is None else env
        project = Path(__file__).resolve().parent.parent
        engine = env.get("DATALAKE_ENGINE", "sail")
        if engine not in ENGINES:
            raise SettingsError(f"DATALAKE_ENGINE is '{engine}'; valid: {', '.join(ENGINES)}")
        ledger = env.get("DATALAKE_LEDGER") or None
        if ledger is not None and not ledger.startswith(LEDGERS):
            raise SettingsError(f"DATALAKE_LEDGER is no database that holds a ledger; valid: {', '.join(LEDGERS)}…")
        smtp = env.get("DATALAKE_SMTP") or None
        if smtp is not None and not smtp.startswith(MAIL_SERVERS):
            valid = ", ".join(f"{each}host:port" for each in MAIL_SERVERS)
            raise SettingsError(f"DATALAKE_SMTP is no mail server's URL; valid: {valid}")
        return Settings(
            ledger=ledger,
            smtp=smtp,
            mail_from=env.get("DATALAKE_MAIL_FROM") or None,
            config=Path(env.get("DATALAKE_CONFIG", project / "config")).absolute(),
            data=Path(env.get("DATALAKE_DATA", project / "data")).absolute(),
            engine=engine,
            spark_remote=env.get("DATALAKE_SPARK_REMOTE"),
            environment=env.get("DATALAKE_ENV", "dev"),
            applications=tuple(a for a in env.get("DATALAKE_APPLICATIONS", "").split(",") if a),
            secrets=Path(env["DATALAKE_SECRETS"]).absolute() if env.get("DATALAKE_SECRETS") else None,
        )

    @property
    def application_data(self) -> Path:
        return self.data / "applications"
