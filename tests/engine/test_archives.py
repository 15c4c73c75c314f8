"""Archives are kept as they were sent and unpacked in raw; each member is accounted for like a file of its own."""

from __future__ import annotations

import bz2
import gzip
import io
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pysequoia import Tsk, encrypt_file
from sqlalchemy import select

from publishing.lake import open_lake
from publishing.ledger import LandedFile
from publishing.rebuild_ledger import rebuild
from publishing.verify import verify
from resources import archive
from resources.archive import BadArchive, Limits, members
from resources.engine import Engine
from resources.secrets import SecretMissing
from tests.promised_feed import Feed

DATA = Path(__file__).parents[1] / "data"
A, B = b"id,v\na,1\n", b"id,v\nb,2\nc,3\n"


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


def define(feed: Feed, attributes: str = "", pattern: str = ".*", **given: Any) -> None:
    feed.define(pattern=pattern, **given)
    path = feed.root / "config" / "applications" / "app" / "staging" / "pipelines" / "feed.xml"
    path.write_text(path.read_text().replace(' header="true"', f' header="true" {attributes}'))


def drop(feed: Feed, name: str, content: bytes) -> None:
    (feed.settings.data / "landing" / name).write_bytes(content)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(content)
    return bytes(out.getvalue())


def landed(feed: Feed) -> list[LandedFile]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        return list(session.scalars(select(LandedFile).order_by(LandedFile.arrival)))


def raw(feed: Feed) -> list[Path]:
    return sorted(p for p in (feed.settings.data / "raw" / "app" / "feed").iterdir())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd], ids=["gzip", "bzip2", "zstd"])
def test_a_compressed_file_is_kept_and_what_it_holds_is_loaded(feed: Feed, pack: Callable[[bytes], bytes]) -> None:
    define(feed)
    packed = pack(B)
    drop(feed, "b.csv.x", packed)
    (batch,) = feed.run()
    assert (batch.status, batch.counts.in_, batch.counts.accepted) == ("published", 2, 2)
    whole, data = landed(feed)
    assert (whole.status, whole.size, whole.batch_id) == ("unpacked", len(packed), None)
    assert (data.status, data.size, data.archive, data.name) == ("published", len(B), whole.content_id, "b.csv.x")
    assert {p.read_bytes() for p in raw(feed)} == {packed, B}
    assert feed.rows("staging.feed", "id") == ["b", "c"]


def unpacked(path: Path, kind: str) -> bytes:
    return b"".join(piece for _, pieces in members(path, kind, Limits(10**9)) for piece in pieces)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd], ids=["gzip", "bzip2", "zstd"])
def test_what_was_packed_in_parallel_is_read_to_its_last_part(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Parallel packers write one stream after the other; a part may be empty, or larger than what is read at once."""
    parts = [B, b"", b"d,4\n" * 1_000_000, bytes(range(256)) * 10_000, A]
    (tmp_path / "x").write_bytes(b"".join(pack(part) for part in parts))
    kind = archive.kind_of((tmp_path / "x").read_bytes()[:10])
    assert kind is not None
    assert unpacked(tmp_path / "x", kind) == b"".join(parts)


def test_a_bzip2_file_may_end_in_zeros(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bz2.compress(B) + bytes(3 * archive.PIECE))
    assert unpacked(tmp_path / "x", "bzip2") == B


def test_each_member_of_a_zip_is_a_file_of_its_own(feed: Feed) -> None:
    define(feed, 'memberPattern="(?P&lt;business_date&gt;[0-9]{8})_.*\\.csv"', r"daily_(?P&lt;sender&gt;[a-z]+)\.zip")
    members = [("20240101_a.csv", A), ("20240102_b.csv", B), ("20240102_bad.csv", b"id,w\nx,1\n"), ("README", b"hi")]
    drop(feed, "daily_north.zip", zipped(*members))
    batches = {b.business_date + b.status: b for b in feed.run()}
    assert {key: b.counts.in_ for key, b in batches.items()} == {
        "2024-01-01published": 1, "2024-01-02published": 2, "2024-01-02held": 1,
    }  # fmt: skip
    whole, *files = landed(feed)
    assert (whole.status, whole.reason) == ("unpacked", "zip of 3 files; memberPattern leaves out README")
    assert [f.name for f in files] == [f"daily_north.zip/{name}" for name, _ in members[:3]]
    assert {f.sender for f in files} == {"north"}
    assert {f.archive for f in files} == {whole.content_id}
    assert feed.rows("staging.feed", "_source_file") == ["daily_north.zip/20240101_a.csv"] + [
        "daily_north.zip/20240102_b.csv"
    ] * 2


def test_what_was_delivered_before_is_a_duplicate_however_it_is_packed(feed: Feed) -> None:
    define(feed)
    drop(feed, "a.csv", A)
    feed.run()
    drop(feed, "again.zip", zipped(("x.csv", A), ("y.csv", B), ("z.csv", B)))
    feed.run()
    drop(feed, "b.csv.gz", gzip.compress(B))
    feed.run()
    assert sorted((f.name, f.status) for f in landed(feed)) == [
        ("a.csv", "published"), ("again.zip", "unpacked"), ("again.zip/x.csv", "duplicate"),
        ("again.zip/y.csv", "published"), ("again.zip/z.csv", "duplicate"),
        ("b.csv.gz", "duplicate"), ("b.csv.gz", "unpacked"),
    ]  # fmt: skip
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]


def folder_in_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.mkdir("sub")
        packed.writestr("sub/b.csv", B)
    return out.getvalue()


def test_folders_in_a_zip_are_no_files(feed: Feed) -> None:
    define(feed)
    drop(feed, "a.zip", folder_in_zip())
    (batch,) = feed.run()
    assert (batch.status, [f.name for f in landed(feed)]) == ("published", ["a.zip", "a.zip/sub/b.csv"])


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        link = zipfile.ZipInfo("link.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    return out.getvalue()


def with_password() -> bytes:
    marked = bytearray(zipped(("a.csv", A)))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[marked.index(sign) + at] |= 1
    return bytes(marked)


def claims_many() -> bytes:
    lying = bytearray(zipped(("a.csv", A)))
    at = lying.index(b"PK\x05\x06")
    lying[at + 8 : at + 12] = b"\xfe\xff\xfe\xff"
    return bytes(lying)


BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "too_large": ("archive_too_large", lambda: gzip.compress(b"id,v\n" + b"a,1\n" * 300_000)),
    "too_large_in_parts": ("archive_too_large", lambda: zipped(*[(f"{n}.csv", b"id,v\n" * 50_000) for n in range(5)])),
    "too_many": ("archive_members", lambda: zipped(*[(f"{n}.csv", b"id,v\n") for n in range(1001)])),
    "claims_many": ("archive_members", claims_many),
    "nested": ("archive_nested", lambda: zipped(("a.csv", A), ("inner.zip", zipped(("b.csv", B))))),
    "nested_gzip": ("archive_nested", lambda: gzip.compress(gzip.compress(B))),
    "up": ("archive_path", lambda: zipped(("../a.csv", A))),
    "absolute": ("archive_path", lambda: zipped(("/etc/a.csv", A))),
    "drive": ("archive_path", lambda: zipped(("C:a.csv", A))),
    "backslash": ("archive_path", lambda: zipped(("..\\a.csv", A))),
    "line_break": ("archive_path", lambda: zipped(("a\n.csv", A))),
    "link": ("archive_path", linked),
    "password": ("archive_password", with_password),
    "cut_off": ("archive_broken", lambda: gzip.compress(B)[:-6]),
    "cut_off_zip": ("archive_broken", lambda: zipped(("a.csv", A))[:-30]),
    "cut_off_zstd": ("archive_broken", lambda: zstd(B * 1000)[:-9]),
    "damaged": ("archive_broken", lambda: zipped(("a.csv", A), method=zipfile.ZIP_STORED).replace(b"a,1", b"a,2")),
    "garbage_behind": ("archive_broken", lambda: gzip.compress(B) + b"id,v\nd,4\n"),
    "empty": ("archive_empty", lambda: zipped()),
    "second_stream_damaged": ("archive_broken", lambda: bz2.compress(B) + b"X" + bz2.compress(A)[1:]),
    "second_stream_cut_off": ("archive_broken", lambda: bz2.compress(B) + bz2.compress(A)[:-9]),
    "second_frame_damaged": ("archive_broken", lambda: zstd(B) + b"X" + zstd(A)[1:]),
    "bzip2_in_zip": ("archive_kind", lambda: zipped(("a.csv", A), method=zipfile.ZIP_BZIP2)),
    "lzma_in_zip": ("archive_kind", lambda: zipped(("a.csv", A), method=zipfile.ZIP_LZMA)),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_that_cannot_be_is_held_with_its_reason_and_the_others_go_on(feed: Feed, name: str) -> None:
    code, make = BAD[name]
    define(feed, 'maxUnpackedBytes="1000000"')
    drop(feed, "bad.x", make())
    drop(feed, "good.csv", A)
    outcomes = {b.status: b for b in feed.run()}
    assert str(outcomes["held"].reason).startswith(f"{code}: ")
    assert outcomes["published"].counts.accepted == 1
    held = next(f for f in landed(feed) if f.name == "bad.x")
    assert (held.status, held.facts["records"]) == ("held", 0)
    assert feed.rows("staging.feed", "id") == ["a"]
    assert not [p for p in raw(feed) if p.name.startswith(".")]
    again = {b.status: b for b in feed.run(reprocess=True)}
    assert str(again["held"].reason).startswith(f"{code}: ")


def test_what_is_packed_far_too_well_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "RATIO_FROM", 1024 * 1024)
    path = tmp_path / "bomb"
    path.write_bytes(bz2.compress(b"0" * 20_000_000))
    with pytest.raises(BadArchive, match="more than 250 bytes come out of one") as bad:
        for _, pieces in members(path, "bzip2", Limits(10**12)):
            assert sum(len(piece) for piece in pieces)
    assert bad.value.code == "archive_ratio"


def test_a_declared_compression_is_what_the_file_has_to_be(feed: Feed) -> None:
    define(feed, 'compression="gzip"')
    drop(feed, "plain.csv", A)
    drop(feed, "b.csv", gzip.compress(B))
    assert sorted((b.status, (b.reason or "").partition(":")[0]) for b in feed.run()) == [
        ("held", "archive_kind"), ("published", ""),
    ]  # fmt: skip


def test_a_source_that_unpacks_nothing_reads_files_as_they_are(feed: Feed) -> None:
    define(feed, 'compression="none"')
    drop(feed, "b.csv", gzip.compress(B))
    (batch,) = feed.run()
    assert batch.status == "held"
    assert [f.status for f in landed(feed)] == ["held"]


def test_several_files_in_one_archive_are_no_snapshot(feed: Feed) -> None:
    define(feed, snapshot=True, targets='<hive table="staging.feed" mode="overwrite"/>')
    drop(feed, "two.zip", zipped(("a.csv", A), ("b.csv", B)))
    drop(feed, "one.zip", zipped(("a.csv", A)))
    assert sorted((b.status, (b.reason or "").partition(":")[0]) for b in feed.run()) == [
        ("held", "archive_snapshot"), ("published", ""),
    ]  # fmt: skip


def test_the_journal_knows_archives_and_their_members(feed: Feed) -> None:
    define(feed)
    drop(feed, "a.zip", zipped(("a.csv", A), ("b.csv", B)))
    drop(feed, "bad.zip", zipped(("../a.csv", A)))
    feed.run()
    before = [(f.name, f.status, f.reason, f.archive, f.facts) for f in landed(feed)]
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert list(verify(lake, feed.catalog())) == []
        rebuild(lake, feed.catalog())
    assert [(f.name, f.status, f.reason, f.archive, f.facts) for f in landed(feed)] == before
    assert feed.run() == []


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Tsk.generate("lake <lake@example.com>")
    monkeypatch.setenv("FEED_PGP", str(made))
    return made


def encrypted(key: Any, content: bytes, folder: Path, armor: bool = False) -> bytes:
    (folder / "clear").write_bytes(content)
    encrypt_file(str(folder / "clear"), str(folder / "secret"), [key.extract_certificate()], armor=armor)
    return (folder / "secret").read_bytes()


def test_encrypted_files_are_read_and_stand_in_raw_both_ways(feed: Feed, key: Any) -> None:
    define(feed, 'pgpSecretRef="FEED_PGP"')
    drop(feed, "a.pgp", encrypted(key, A, feed.root))
    drop(feed, "b.zip.asc", encrypted(key, zipped(("b.csv", B)), feed.root, armor=True))
    assert sum(b.counts.accepted for b in feed.run()) == 3
    files = landed(feed)
    assert [(f.name, f.status, f.reason) for f in files if f.archive is None] == [
        ("a.pgp", "unpacked", "pgp of 1 file"), ("b.zip.asc", "unpacked", "pgp of 1 file"),
    ]  # fmt: skip
    assert {p.name for p in raw(feed)} == {f.content_id for f in files}  # nothing else stays, least of all in clear


def test_what_cannot_be_decrypted_is_held(feed: Feed, key: Any) -> None:
    define(feed, 'pgpSecretRef="FEED_PGP" maxUnpackedBytes="100000"')
    good = encrypted(key, A * 1000, feed.root)
    drop(feed, "clear.csv", A)
    drop(feed, "cut.pgp", good[:-100])
    drop(feed, "changed.pgp", good[:-100] + bytes([good[-100] ^ 1]) + good[-99:])
    drop(feed, "other.pgp", encrypted(Tsk.generate("x <x@example.com>"), A, feed.root))
    drop(feed, "large.pgp", encrypted(key, b"id,v\n" * 1_000_000, feed.root))
    feed.run()
    found = {f.name: (f.status, str(f.reason).partition(":")[0]) for f in landed(feed)}
    assert found == {
        "clear.csv": ("held", "not_encrypted"),
        "cut.pgp": ("held", "not_decrypted"),
        "changed.pgp": ("held", "not_decrypted"),
        "other.pgp": ("held", "not_decrypted"),
        "large.pgp": ("held", "archive_too_large"),
    }
    assert not [p for p in raw(feed) if p.name.startswith(".")]


@pytest.mark.parametrize("wrong", [None, "no key"])
def test_a_missing_key_is_nobodys_fault_but_ours(
    feed: Feed, key: Any, monkeypatch: pytest.MonkeyPatch, wrong: str | None
) -> None:
    define(feed, 'pgpSecretRef="FEED_PGP"')
    drop(feed, "a.pgp", encrypted(key, A, feed.root))
    with monkeypatch.context() as patched:
        patched.delenv("FEED_PGP") if wrong is None else patched.setenv("FEED_PGP", wrong)
        with pytest.raises(SecretMissing, match="FEED_PGP"):
            feed.run()
    assert [b.status for b in feed.run()] == ["published"]


def test_a_key_with_a_passphrase_is_unlocked_by_another_secret(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key was made by GnuPG, with the passphrase below."""
    protected = (DATA / "pgp" / "protected.asc").read_bytes()
    monkeypatch.setenv("FEED_PGP", protected.decode())
    drop(feed, "a.pgp", encrypted(Tsk.from_bytes(protected), A, feed.root))
    for attributes, words, said in (
        ("", "correct", "or has a passphrase: name that one by pgpPassphraseRef"),
        ('pgpPassphraseRef="FEED_WORDS"', "wrong", "no private PGP key that the passphrase 'FEED_WORDS' unlocks"),
    ):
        monkeypatch.setenv("FEED_WORDS", words)
        define(feed, f'pgpSecretRef="FEED_PGP" {attributes}')
        with pytest.raises(SecretMissing, match=said) as told:
            feed.run()
        assert "wrong" not in str(told.value)
    monkeypatch.setenv("FEED_WORDS", "correct horse ☂")
    assert [(b.status, b.counts.accepted) for b in feed.run()] == [("published", 1)]


@pytest.mark.skipif(shutil.which("gpg") is None, reason="GnuPG is not installed")
def test_what_gnupg_makes_is_read(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    home = feed.root / "gnupg"
    home.mkdir(mode=0o700)

    def gpg(*command: str) -> bytes:
        given = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--trust-model", "always", *command]
        return subprocess.run(given, check=True, capture_output=True, timeout=60).stdout

    try:
        gpg("--quick-gen-key", "lake <lake@example.com>", "default", "default")
        monkeypatch.setenv("FEED_PGP", gpg("--armor", "--export-secret-keys", "lake@example.com").decode())
        define(feed, 'pgpSecretRef="FEED_PGP"')
        (feed.root / "b.csv").write_bytes(B)
        drop(feed, "b.csv.gpg", gpg("-o", "-", "--encrypt", "-r", "lake@example.com", str(feed.root / "b.csv")))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=60)
    assert [(b.status, b.counts.accepted) for b in feed.run()] == [("published", 2)]
