"""The damage program: the same seed gives the same bytes, and its list of what must happen agrees with itself."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
sys.path.insert(0, str(DEMO))

import compare  # noqa: E402
import damage  # noqa: E402  # the demo's scripts are no package: they run with nothing installed
import expected  # noqa: E402

SEED = 20201231
OURS = {"acts", "compare", "damage", "expected", "plain_contract", "plain_edits"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("lake")
    damage.write(out, SEED)
    document: dict[str, Any] = json.loads((out / "damage.json").read_text(encoding="utf-8"))
    return out, document


def test_the_list_shares_nothing_with_the_product() -> None:
    """What runs the product is not what judges it; tables are read with `deltalake`, which is not ours."""
    runs = {"run_demo.py", "own_file.py", "way_back.py"}
    for path in DEMO.glob("*.py"):
        if path.name in runs:
            continue
        allowed = sys.stdlib_module_names | OURS | ({"deltalake", "pyarrow"} if path.name == "tables.py" else set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed, f"{path.name} imports {name}"
                assert name not in {Path(run).stem for run in runs}, f"{path.name} imports {name}"


def test_the_same_seed_gives_the_same_bytes(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, document = made
    assert damage.write(tmp_path, SEED) == document
    for path in (out / "landing" / "hmda").iterdir():
        assert (tmp_path / "landing" / "hmda" / path.name).read_bytes() == path.read_bytes()


def test_another_seed_damages_other_records(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    assert damage.write(tmp_path, SEED + 1)["records"] != made[1]["records"]


def test_files_are_listed_as_they_lie_there(made: tuple[Path, dict[str, Any]]) -> None:
    out, document = made
    landing = out / "landing" / "hmda"
    assert [f["name"] for f in document["files"]] == sorted(p.name for p in landing.iterdir())
    for item in document["files"]:
        data = (landing / item["name"]).read_bytes()
        assert item["sha256"] == hashlib.sha256(data).hexdigest()
        lines = data.split(b"\n")
        assert item["records"] == len([line for line in lines if line]) - 1


def test_the_equation_closes_for_each_file_batch_and_layer(made: tuple[Path, dict[str, Any]]) -> None:
    document = made[1]
    published = [f["counts"] for f in document["files"] if f["status"] == "published"]
    batches = [b["counts"] for b in document["staging"]]
    merged = [b["counts"] for b in document["standardization"]["batches"]]
    for counts in published + batches + merged:
        assert counts["in"] == sum(n for term, n in counts.items() if term != "in")
    assert sum(c["in"] for c in published) == sum(c["in"] for c in batches)
    assert [c["in"] for c in merged] == [c["accepted"] for c in batches]
    assert document["standardization"]["rows"] == sum(c["accepted"] for c in merged)
    assert sum(g["applications"] for g in document["service"]["groups"]) == document["standardization"]["rows"]


def test_the_damage_is_what_the_job_asks_for(made: tuple[Path, dict[str, Any]]) -> None:
    document = made[1]
    files = {f["name"]: f for f in document["files"]}
    status = Counter((f["status"], f["reason"]) for f in files.values())
    assert status == {
        ("published", None): 8, ("held", "control_total"): 2, ("held", "encoding"): 1, ("duplicate", None): 1,
    }  # fmt: skip
    assert files["lar_2018_bank0_1020_doubles.txt"]["counts"]["deduplicated"] == 20
    assert files["lar_2020_bank0_1000_refiled.txt"]["counts"] | {"in": 0} == Counter(
        {"in": 0, "accepted": 12, "deduplicated": 988, "quarantined": 0, "filtered": 0, "superseded": 0, "skipped": 0}
    )
    damaged = [r for r in document["records"] if r["file"] == "lar_2020_bank1_1000_violations.txt"]
    assert sum(r["done"].count(";") + 1 for r in damaged) == 41  # forty acts and the short record
    assert all(r["end"] == "quarantined" and r["errors"] for r in damaged)
    assert sum(len(r["errors"]) >= 3 for r in damaged) >= 3
    assert document["standardization"]["batches"][1]["counts"]["superseded"] == 12
    assert len(document["standardization"]["corrected"]) == 12


def test_records_of_the_list_are_in_their_files(made: tuple[Path, dict[str, Any]]) -> None:
    out, document = made
    for item in document["records"]:
        lines = (out / "landing" / "hmda" / item["file"]).read_text(encoding="utf-8").splitlines()
        cells = lines[item["record"]].split("|")
        assert (len(cells) != 110) == ({"code": "ragged"} in item["errors"])
        if "corrects" in item:
            assert cells[2] == item["corrects"]


def test_the_broken_files_are_broken_as_said(made: tuple[Path, dict[str, Any]]) -> None:
    out, document = made
    for item in (f for f in document["files"] if f["status"] == "held"):
        data = (out / "landing" / "hmda" / item["name"]).read_bytes()
        lines = data.rstrip(b"\n").split(b"\n")
        if item["reason"] == "encoding":
            bad = [n for n, line in enumerate(lines) if not _utf8(line)]
            assert bad == [item["record"]]
        else:
            assert int(lines[0].split(b"|")[12]) != item["records"]


def test_aggregates_keep_their_bounds(made: tuple[Path, dict[str, Any]]) -> None:
    for group in made[1]["service"]["groups"]:
        low, high = Decimal(group["loan_amount_min"]), Decimal(group["loan_amount_max"])
        total, average = Decimal(group["loan_amount_total"]), Decimal(group["loan_amount_average"])
        assert low <= average <= high
        assert abs(average * group["applications"] - total) < Decimal("0.01")
        assert 0 <= group["originations"] <= group["applications"]


def test_masked_identifiers_are_keyed_hashes(
    made: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(expected.KEY_NAME, raising=False)
    key = expected.mask_key()
    assert len(key) >= 16
    for item in made[1]["standardization"]["corrected"]:
        assert item["uli_masked"] == hmac.digest(key, item["uli"].encode(), "sha256").hex()


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32))
def test_any_seed_gives_a_list_that_closes(seed: int) -> None:
    document = expected.expectation(damage.build(seed), damage.CONTRACT)
    for batch in document["staging"]:
        counts = batch["counts"]
        assert counts["in"] == sum(n for term, n in counts.items() if term != "in")
    assert document["standardization"]["batches"][1]["counts"]["superseded"] == 12


def _utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _report(document: dict[str, Any]) -> dict[str, Any]:
    """The report of a run in which everything went as the list says."""
    files = [
        {"uri": f"landing/hmda/{f['name']}", "status": f["status"], "reason": f["reason"],
         "counts": f["counts"] or dict.fromkeys(compare.TERMS, 0), "day": f["business_date"]}
        for f in document["files"]
    ]  # fmt: skip
    staging = [
        {**b, "status": "published", "files": [f for f in files if f["day"] == b["business_date"]]}
        for b in document["staging"]
    ]
    merged = [{"status": "published", "files": [], **b} for b in document["standardization"]["batches"]]
    pipelines = [("mortgage/lar", staging), ("mortgage/loan_application", merged)]
    return {"pipelines": [{"pipeline": name, "batches": batches} for name, batches in pipelines]}


def test_a_report_that_agrees_has_no_differences_and_any_other_has(made: tuple[Path, dict[str, Any]]) -> None:
    document = made[1]
    assert list(compare.differences(_report(document), document)) == []
    for change in ("status", "reason", "count", "missing", "unlisted", "merged"):
        report = json.loads(json.dumps(_report(document)))
        batch = report["pipelines"][0]["batches"][0]
        held = next(f for f in batch["files"] if f["status"] == "held")
        match change:
            case "status":
                held["status"] = "published"
            case "reason":
                held["reason"] = "another"
            case "count":
                batch["files"][0]["counts"]["accepted"] -= 1
            case "missing":
                del batch["files"][0]
            case "unlisted":
                batch["files"].append({**batch["files"][0], "uri": "landing/hmda/other.txt"})
            case "merged":
                report["pipelines"][1]["batches"][1]["counts"]["superseded"] -= 1
        assert list(compare.differences(report, document)), change
