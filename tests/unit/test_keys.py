"""Keyed functions against published vectors, and what happens when a key or a byte is not the right one."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.keys import (
    SealBroken,
    aes_siv,
    decrypt_text,
    encrypt_each,
    encrypt_text,
    hmac_sha256,
    seal,
    unseal,
)

CRYPTO = Path(__file__).parent.parent / "data" / "crypto"
VECTORS = CRYPTO / "rfc-4231-sha256.txt"
KEY = bytes(range(32))
FIELD = re.compile(r"(Key|Msg|MD) = ([0-9a-f]+)")


def vectors() -> list[tuple[bytes, bytes, str]]:
    fields = [match[2] for line in VECTORS.read_text().splitlines() if (match := FIELD.match(line))]
    return [
        (bytes.fromhex(key), bytes.fromhex(message), digest)
        for key, message, digest in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    ]


def test_hmac_is_that_of_rfc_4231() -> None:
    found = [(hmac_sha256(key)(message), digest) for key, message, digest in vectors()]
    assert len(found) == 6
    assert [made for made, _ in found] == [digest for _, digest in found]


def siv_vectors() -> list[dict[str, list[bytes]]]:
    """Of each vector its fields; AAD may be several."""
    found: list[dict[str, list[bytes]]] = []
    for line in (CRYPTO / "aes_siv_openssl.txt").read_text().splitlines():
        name, _, value = (part.strip() for part in line.partition("="))
        if name == "COUNT":
            found.append({})
        elif value and not name.startswith("#"):
            found[-1].setdefault(name.rstrip("23"), []).append(bytes.fromhex(value))
    return found


@pytest.mark.parametrize("vector", siv_vectors(), ids=lambda v: f"{8 * len(v['Key'][0]) // 2} bits")
def test_aes_siv_is_that_of_rfc_5297(vector: dict[str, list[bytes]]) -> None:
    """The vectors of OpenSSL; the mask `encrypt` is the one of 256 bits."""
    (key,), (plain,) = vector["Key"], vector["Plaintext"]
    made = aes_siv(key).encrypt(plain, vector["AAD"])
    assert made == vector["Tag"][0] + vector["Ciphertext"][0]
    assert aes_siv(key).decrypt(made, vector["AAD"]) == plain


@given(st.text())
def test_encrypted_text_comes_back_and_is_the_same_each_time(text: str) -> None:
    encrypt = encrypt_text(KEY, "k1")
    assert encrypt(text.encode()) == encrypt(text.encode())
    assert decrypt_text(encrypt(text.encode()), KEY) == text


@given(st.text(), st.binary(max_size=40), st.binary(max_size=40))
def test_what_is_encrypted_for_a_record_comes_back_and_differs_for_another(text: str, of: bytes, other: bytes) -> None:
    encrypt = encrypt_each(KEY, "k1")
    made = encrypt(text.encode(), of)
    assert made == encrypt(text.encode(), of)
    assert decrypt_text(made, KEY) == text
    assert (encrypt(text.encode(), other) == made) == (of == other)
    with pytest.raises(SealBroken):
        decrypt_text(made.replace("k1:", "k2:"), KEY)
    with pytest.raises(SealBroken):
        decrypt_text(made, KEY[::-1])


def test_no_nonce_serves_two_messages() -> None:
    """Record and value are told apart in what the nonce is made of, wherever one ends and the other begins."""
    encrypt = encrypt_each(KEY, "k1")
    pairs = [(b"ab", b"c"), (b"a", b"bc"), (b"", b"abc"), (b"abc", b"")]
    nonces = {base64.urlsafe_b64decode(encrypt(m, of).partition("gcm.")[2])[:12] for m, of in pairs}
    assert len(nonces) == len(pairs)


@pytest.mark.parametrize("changed", ["k2:{0}", "k1:A{0}", "{0}", "k1:"])
def test_a_changed_mask_does_not_open(changed: str) -> None:
    coded = encrypt_text(KEY, "k1")(b"value").removeprefix("k1:")
    with pytest.raises(SealBroken):
        decrypt_text(changed.format(coded), KEY)


@given(st.binary(max_size=2000), st.text(max_size=20), st.text(max_size=20))
def test_a_seal_opens_for_its_record_and_key_only(plain: bytes, key_id: str, record_id: str) -> None:
    sealed = seal(plain, KEY, key_id, record_id)
    assert unseal(sealed, KEY, key_id, record_id) == plain
    assert seal(plain, KEY, key_id, record_id) != sealed
    wrong: list[tuple[bytes, bytes, str, str]] = [
        (sealed, KEY[::-1], key_id, record_id),
        (sealed, KEY, key_id + "x", record_id),
        (sealed, KEY, key_id, record_id + "x"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), KEY, key_id, record_id),
        (b"", KEY, key_id, record_id),
        (plain, KEY, key_id, record_id),
    ]
    for case in wrong:
        with pytest.raises(SealBroken):
            unseal(*case)


def test_a_short_key_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="it needs at least 16") as refused:
        seal(b"x", b"short-key", "k", "r")
    assert "short-key" not in str(refused.value)
