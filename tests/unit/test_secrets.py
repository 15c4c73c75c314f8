"""Where secrets come from, and that an error says where it looked and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from resources.secrets import SecretMissing, SecretResolver


def test_the_environment_comes_before_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "BANK_KEY").write_bytes(b"from file\n")
    monkeypatch.setenv("DATALAKE_SECRETS", str(tmp_path))
    assert SecretResolver().key("BANK_KEY") == b"from file"
    monkeypatch.setenv("BANK_KEY", "from environment")
    assert SecretResolver().key("BANK_KEY") == b"from environment"


def test_a_missing_secret_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATALAKE_SECRETS", raising=False)
    looked = r"'NO_KEY' is missing; .*variable NO_KEY and no file, because DATALAKE_SECRETS"
    with pytest.raises(SecretMissing, match=looked):
        SecretResolver().key("NO_KEY")
    with pytest.raises(SecretMissing, match=f"the file {tmp_path / 'NO_KEY'}"):
        SecretResolver(tmp_path).key("NO_KEY")
    (tmp_path / "NO_KEY").write_text("")
    with pytest.raises(SecretMissing, match="is empty"):
        SecretResolver(tmp_path).key("NO_KEY")


@pytest.mark.parametrize("reference", ["../etc/passwd", "/etc/passwd", "a/b", "", ".hidden", "a b"])
def test_a_reference_cannot_leave_the_folder(tmp_path: Path, reference: str) -> None:
    with pytest.raises(SecretMissing, match="cannot name a secret"):
        SecretResolver(tmp_path).key(reference)


def test_it_travels_without_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_KEY", "the value itself")
    resolver = SecretResolver()
    assert resolver.key("BANK_KEY") == b"the value itself"
    assert b"the value itself" not in pickle.dumps(resolver)
    assert "the value itself" not in repr(resolver)
