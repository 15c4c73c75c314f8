"""The HMDA edits of the rule pack once more, in plain Python, from the published wording: when is an edit broken?

Nothing here reads the rule pack. A cell that could not be read is None and breaks no edit, which is why every function
asks for what is wrong instead of what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, Any]
Edit = Callable[[Row, int], bool]

UNDECIDED = (4, 5, 6)  # withdrawn, incomplete, purchased: no credit decision by this institution
NOT_SOLD = (2, 3, 4, 5, 7, 8)


def _given(row: Row, stem: str, numbers: range) -> list[Any]:
    return [row[f"{stem}{n}"] for n in numbers if row[f"{stem}{n}"] is not None]


def _differ(*facts: bool) -> bool:
    """Things that must all be so, or none."""
    return len(set(facts)) > 1


def _not_natural(row: Row, who: str) -> bool:
    return (row[f"{who}_ethnicity_1"], row[f"{who}_race_1"], row[f"{who}_sex"]) == (4, 7, 4)


def _numbered(row: Row, name: str) -> bool:
    return row[name] is not None


def _outside(value: Any, *allowed: Any) -> bool:
    return value is not None and value not in allowed


def _v622(row: Row, _: int) -> bool:
    return row["street_address"] is not None and "NA" in (
        row["city_code"], row["state_code_code"], row["zip_code_code"],
    )  # fmt: skip


def _v627(row: Row, _: int) -> bool:
    tract, county = row["census_tract"], row["county_code"]
    return tract is not None and county is not None and tract[:5] != county


def _v619_3(row: Row, _: int) -> bool:
    applied, acted = row["application_date"], row["action_taken_date"]
    return _outside(row["action_taken"], 6) and None not in (applied, acted) and acted < applied


def _v671(row: Row, _: int) -> bool:
    return _differ(9 in _given(row, "denial_reason_", range(1, 5)), row["denial_reason_other"] is not None)


def _v678_5(row: Row, _: int) -> bool:
    penalty, term = row["prepayment_penalty_term"], row["loan_term"]
    return None not in (penalty, term) and penalty > term


def _v692_3(row: Row, _: int) -> bool:
    affordable, units = row["multifamily_affordable_units"], row["total_units"]
    return None not in (affordable, units) and units >= 5 and affordable > units


def _v693(row: Row, _: int) -> bool:
    submission, action = row["submission_of_application"], row["action_taken"]
    if submission is None or action is None:
        return False
    return (action == 6 and submission not in (3, 1111)) or (submission == 3 and action != 6)


def _v699(row: Row, _: int) -> bool:
    return any(
        row[f"aus_{n}"] == 5 and row[f"aus_result_{n}"] is not None and not 1 <= row[f"aus_result_{n}"] <= 16
        for n in range(1, 6)
    )


def _v700_1(row: Row, _: int) -> bool:
    more = _given(row, "aus_", range(2, 6)) + _given(row, "aus_result_", range(2, 6))
    return row["aus_1"] == 6 and (_outside(row["aus_result_1"], 17) or bool(more))


def _q608(row: Row, _: int) -> bool:
    applied, acted = row["application_date"], row["action_taken_date"]
    return row["action_taken"] == 1 and None not in (applied, acted) and acted <= applied


ERRORS: dict[str, Edit] = {
    "V610-2": lambda r, _: r["action_taken"] is not None
    and _differ(r["action_taken"] == 6, r["application_date_code"] == "NA"),
    "V612-2": lambda r, _: r["preapproval"] == 1 and _outside(r["loan_purpose"], 1),
    "V613-3": lambda r, _: r["action_taken"] in (3, 4, 5, 6) and _outside(r["preapproval"], 2),
    "V615-3": lambda r, _: r["manufactured_home_secured_property_type"] in (1, 2)
    and _outside(r["construction_method"], 2),
    "V619-2": lambda r, year: r["action_taken_date"] is not None and r["action_taken_date"].year != year,
    "V619-3": _v619_3,
    "V622": _v622,
    "V627": _v627,
    "V628-4": lambda r, _: r["applicant_ethnicity_1"] in (3, 4)
    and bool(_given(r, "applicant_ethnicity_", range(2, 6))),
    "V634": lambda r, _: r["co_applicant_ethnicity_basis"] is not None
    and _differ(r["co_applicant_ethnicity_1"] == 5, r["co_applicant_ethnicity_basis"] == 4),
    "V650": lambda r, _: None not in (r["co_applicant_sex"], r["co_applicant_sex_basis"])
    and _differ(r["co_applicant_sex"] == 5, r["co_applicant_sex_basis"] == 4),
    "V651-2": lambda r, _: _not_natural(r, "applicant") and r["applicant_age_code"] != "8888",
    "V654-2": lambda r, _: _numbered(r, "multifamily_affordable_units") and _numbered(r, "income"),
    "V656-2": lambda r, _: r["action_taken"] in NOT_SOLD and _outside(r["purchaser_type"], 0),
    "V658-2": lambda r, _: r["action_taken"] in NOT_SOLD and _outside(r["hoepa_status"], 3),
    "V661": lambda r, _: r["applicant_score_model"] is not None
    and _differ(r["applicant_credit_score_code"] == "8888", r["applicant_score_model"] == 9),
    "V662": lambda r, _: r["applicant_score_model"] is not None
    and _differ(r["applicant_score_model"] == 8, r["applicant_score_model_other"] is not None),
    "V666-2": lambda r, _: r["co_applicant_score_model"] is not None
    and _differ(r["co_applicant_credit_score_code"] == "9999", r["co_applicant_score_model"] == 10),
    "V669-4": lambda r, _: r["denial_reason_1"] in (10, 1111) and bool(_given(r, "denial_reason_", range(2, 5))),
    "V670-1": lambda r, _: r["action_taken"] in (3, 7) and r["denial_reason_1"] == 10,
    "V670-3": lambda r, _: r["action_taken"] in (1, 2, 4, 5, 6, 8) and _outside(r["denial_reason_1"], 10, 1111),
    "V671": _v671,
    "V674-5": lambda r, _: r["action_taken"] in NOT_SOLD and _numbered(r, "origination_charges"),
    "V677-2": lambda r, _: r["action_taken"] in (3, 4, 5, 7) and _numbered(r, "interest_rate"),
    "V678-5": _v678_5,
    "V681-2": lambda r, _: r["action_taken"] in UNDECIDED and _numbered(r, "combined_loan_to_value_ratio"),
    "V688-2": lambda r, _: r["action_taken"] in (4, 5) and _numbered(r, "property_value"),
    "V689-3": lambda r, _: r["construction_method"] == 1
    and _outside(r["manufactured_home_secured_property_type"], 3, 1111),
    "V692-2": lambda r, _: r["total_units"] is not None
    and r["total_units"] < 5
    and _numbered(r, "multifamily_affordable_units"),
    "V692-3": _v692_3,
    "V693": _v693,
    "V696-3": lambda r, _: len(_given(r, "aus_", range(1, 6))) != len(_given(r, "aus_result_", range(1, 6))),
    "V700-1": _v700_1,
    "V702": lambda r, _: _differ(5 in _given(r, "aus_", range(1, 6)), r["aus_other"] is not None),
    "V709": lambda r, _: _differ(*(r[f"{name}_code"] == "Exempt" for name in ("street_address", "city", "zip_code"))),
    "V714": lambda r, _: None not in (r["submission_of_application"], r["initially_payable_to_institution"])
    and _differ(r["submission_of_application"] == 1111, r["initially_payable_to_institution"] == 1111),
}

WARNINGS: dict[str, Edit] = {
    "V608-1": lambda r, _: len(r["uli"]) >= 23 and not r["uli"].startswith(r["lei"]),
    "V644-2": lambda r, _: r["applicant_sex"] == 6 and _outside(r["applicant_sex_basis"], 2),
    "V648-2": lambda r, _: r["co_applicant_sex"] == 6 and _outside(r["co_applicant_sex_basis"], 2),
    "V699": _v699,
    "Q605-1": lambda r, _: r["purchaser_type"] in (1, 3) and _outside(r["loan_type"], 1),
    "Q607": lambda r, _: r["lien_status"] == 2 and r["loan_amount"] is not None and r["loan_amount"] > 250000,
    "Q608": _q608,
    "Q614": lambda r, _: r["applicant_age"] is not None and not 18 <= r["applicant_age"] <= 100,
}


def broken(edits: Mapping[str, Edit], row: Row, year: int) -> list[str]:
    """The ids of the edits that a typed row breaks, in the pack's order."""
    return [name for name, edit in edits.items() if edit(row, year)]
