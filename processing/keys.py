"""Keyed functions over values of records: HMAC for masks, AES-SIV for reversible masks, AES-GCM for raw text.

The keys come in as bytes where they are used; nothing here prints, logs or stores them.

    SealBroken             sealed bytes that were changed, or belong to another record or key
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

_BLOCK = 64  # bytes of a SHA-256 block
_VERSION = b"\x01"
_NONCE = 12
_EACH = "datalake mask encrypt each"
_GCM = "gcm."  # no base64url has a dot
SHORTEST = 16  # bytes of a secret; what is shorter can be guessed


class SealBroken(Exception):
    """The bytes do not open with this key for this record."""


def hmac_sha256(key: bytes) -> Callable[[bytes], str]:
    """HMAC-SHA-256 under `key` as a function from bytes to 64 hex digits.

    Both halves of the key are hashed once and copied per value, which is what `hmac.digest` does anew each time.
    """
    inner = hashlib.sha256(padded_half(key, 0x36))
    outer = hashlib.sha256(padded_half(key, 0x5C))

    def digest(message: bytes) -> str:
        first = inner.copy()
        first.update(message)
        second = outer.copy()
        second.update(first.digest())
        return second.hexdigest()

    return digest


def padded_half(key: bytes, byte: int) -> bytes:
    """The key padded to a block, each byte xor `byte`: 0x36 for the inner hash of an HMAC, 0x5c for the outer."""
    padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return bytes(b ^ byte for b in padded)


def derived(secret: bytes, purpose: str, length: int) -> bytes:
    """A key of `length` bytes for one purpose (HKDF-SHA-256), so that one secret never serves two ciphers."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, salt=None, info=purpose.encode()).derive(secret)


def aes_siv(key: bytes) -> AESSIV:
    """The cipher of RFC 5297: 64 bytes of key are AES-256, and the tag stands before what is encrypted."""
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    return AESSIV(key)


def encrypt_text(secret: bytes, key_id: str) -> Callable[[bytes], str]:
    """Deterministic, reversible: `<key id>:<base64url>` of AES-256-SIV (RFC 5297) under a key derived from `secret`."""
    cipher = aes_siv(derived(secret, "datalake mask encrypt", 64))
    associated = [key_id.encode()]

    def encrypt(message: bytes) -> str:
        # AES-SIV of cryptography refuses an empty message, and one that is never empty hides which values were
        return f"{key_id}:" + base64.urlsafe_b64encode(cipher.encrypt(b"\x01" + message, associated)).decode()

    return encrypt


def encrypt_each(secret: bytes, key_id: str) -> Callable[[bytes, bytes], str]:
    """Reversible, and another text for each record and column: `<key id>:gcm.<base64url>` of nonce and AES-256-GCM.

    The nonce is the start of an HMAC, under a key of its own, of what the value is of and the value. So the same value
    of the same record has the same text whenever it is computed, and no nonce serves two messages by anything but the
    chance of 96 bits: a key is for at most 2^32 values (NIST SP 800-38D, 8.3).
    """
    cipher = _gcm(derived(secret, _EACH, 32))
    digest = hmac_sha256(derived(secret, _EACH + " nonce", 32))
    associated = key_id.encode()

    def encrypt(message: bytes, of: bytes) -> str:
        nonce = bytes.fromhex(digest(len(of).to_bytes(4, "big") + of + message))[:_NONCE]
        sealed = nonce + cipher.encrypt(nonce, message, associated)
        return f"{key_id}:{_GCM}" + base64.urlsafe_b64encode(sealed).decode()

    return encrypt


def _gcm(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def token_text(secret: bytes) -> Callable[[bytes], str]:
    """Deterministic, and nothing of the value in it: `tok_` and 128 bits of an HMAC under a key of its own."""
    digest = hmac_sha256(derived(secret, "datalake mask token", 32))
    return lambda message: f"tok_{digest(message)[:32]}"


def decrypt_text(masked: str, secret: bytes) -> str:
    """The text behind what `encrypt_text` or `encrypt_each` made; SealBroken with another key or after a change."""
    from cryptography.exceptions import InvalidTag

    key_id, _, coded = masked.partition(":")
    cipher = aes_siv(derived(secret, "datalake mask encrypt", 64))
    try:
        if coded.startswith(_GCM):
            sealed = base64.urlsafe_b64decode(coded.removeprefix(_GCM))
            opened = _gcm(derived(secret, _EACH, 32)).decrypt(sealed[:_NONCE], sealed[_NONCE:], key_id.encode())
            return opened.decode()
        return cipher.decrypt(base64.urlsafe_b64decode(coded), [key_id.encode()])[1:].decode()
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"a value masked under the key '{key_id}' does not open with the key given") from error


def seal(plain: bytes, key: bytes, key_id: str, record_id: str) -> bytes:
    """`plain` under AES-256-GCM: version, nonce, ciphertext with tag. It opens for this record and key id only."""
    nonce = os.urandom(_NONCE)
    return _VERSION + nonce + _sealer(key).encrypt(nonce, plain, _bound(key_id, record_id))


def seal_all(plains: pa.BinaryArray, key: bytes, key_id: str, record_ids: pa.StringArray) -> pa.BinaryArray:
    """`seal` of many, in order: all but the cipher itself is done by the column."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    nonces = np.frombuffer(os.urandom(_NONCE * len(plains)), np.dtype((np.void, _NONCE)))
    bound = _all_bound(key_id, record_ids)
    bodies = list(map(_sealer(key).encrypt, nonces.tolist(), _each(plains), bound))
    heads = pa.FixedSizeBinaryArray.from_buffers(pa.binary(_NONCE), len(plains), [None, pa.py_buffer(nonces)])
    version, nothing = pa.scalar(_VERSION), pa.scalar(b"")
    return pc.binary_join_element_wise(version, heads.cast(pa.binary()), pa.array(bodies, pa.binary()), nothing)


def unseal(sealed: bytes, key: bytes, key_id: str, record_id: str) -> bytes:
    """What `seal` was given; SealBroken when the bytes were changed or belong to another record or key."""
    from cryptography.exceptions import InvalidTag

    if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE:
        raise SealBroken(f"record {record_id}: these bytes were not sealed here")
    nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
    try:
        return _sealer(key).decrypt(nonce, body, _bound(key_id, record_id))
    except InvalidTag as error:
        raise SealBroken(f"record {record_id} does not open with key '{key_id}': changed, or another's") from error


def unseal_all(
    sealed: pa.BinaryArray, key: bytes, key_ids: pa.StringArray, record_ids: pa.StringArray
) -> pa.BinaryArray:
    """`unseal` of many, in order; some times faster than one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from cryptography.exceptions import InvalidTag

    start = 1 + _NONCE
    if len(pc.unique(key_ids)) == 1 and pc.all(pc.starts_with(sealed, _VERSION)).as_py():
        decrypt, bound = _sealer(key).decrypt, _all_bound(key_ids[0].as_py(), record_ids)
        with suppress(InvalidTag, ValueError):  # else one by one: it says which
            both = zip(_each(sealed), bound, strict=True)
            return pa.array([decrypt(each[1:start], each[start:], record) for each, record in both], pa.binary())
    each_of_them = zip(sealed.to_pylist(), key_ids.to_pylist(), record_ids.to_pylist(), strict=True)
    return pa.array([unseal(each, key, key_id, record) for each, key_id, record in each_of_them], pa.binary())


def _each(values: pa.BinaryArray) -> Any:
    """The values one by one as bytes; a third of what `to_pylist` costs."""
    return values.to_numpy(zero_copy_only=False)


@lru_cache(maxsize=4)
def _sealer(key: bytes) -> AESGCM:
    if len(key) < SHORTEST:
        raise ValueError(f"the sealing key has {len(key)} bytes; it needs at least {SHORTEST}")
    return _gcm(derived(key, "datalake quarantine seal", 32))


def _bound(key_id: str, record_id: str) -> bytes:
    return f"{len(key_id)}:{key_id}:{record_id}".encode()


def _all_bound(key_id: str, record_ids: pa.StringArray) -> Any:
    """`_bound` of each record, as an array of bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prefix, nothing = pa.scalar(_bound(key_id, "")), pa.scalar(b"")
    return _each(pc.binary_join_element_wise(prefix, record_ids.cast(pa.binary()), nothing))
