"""What the damage program does to a record, and what must then be found. Field names are those of the contract."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Act:
    """Cells to overwrite; then exactly these edits are broken and exactly these (column, kind) violations exist."""

    done: str
    cells: dict[str, str]
    edits: tuple[str, ...] = ()
    violations: tuple[tuple[str, str], ...] = ()


def _cell(column: str, text: str, kind: str, done: str) -> Act:
    return Act(done, {column: text}, violations=((column, kind),))


def _edit(names: str, **cells: str) -> Act:
    return Act(f"breaks {names}", cells, edits=tuple(names.split()))


CELLS: tuple[Act, ...] = (
    _cell("loan_type", "na", "type", "text where a number belongs"),
    _cell("loan_amount", "12,5", "type", "a decimal comma"),
    _cell("action_taken_date", "20201345", "type", "a date that the calendar does not have"),
    _cell("income", "lots", "type", "a word that is no listed code"),
    _cell("total_units", "2.5", "type", "a fraction where a whole number belongs"),
    _cell("property_value", "", "required", "a blank where a value or a code belongs"),
    _cell("loan_purpose", "3", "enum", "a code that the list does not have"),
    _cell("occupancy_type", "9", "enum", "a code that the list does not have"),
    _cell("lien_status", "0", "enum", "a code that the list does not have"),
    _cell("applicant_race_2", "6", "enum", "a code of the first race only"),
    _cell("state_code", "ca", "pattern", "a state in small letters"),
    _cell("zip_code", "1234", "pattern", "a ZIP code of four digits"),
    _cell("introductory_rate_period", "0", "minimum", "zero where the least is one"),
    _cell("interest_rate", "0", "exclusiveMinimum", "zero where a rate must be greater"),
)

EDITS: tuple[Act, ...] = (
    _edit("V610-2", application_date="NA"),
    _edit("V612-2", preapproval="1"),
    _edit("V613-3", preapproval="1"),
    _edit("V615-3 V689-3", construction_method="1"),
    _edit("V619-2", action_taken_date="20210115"),
    _edit("V619-3", action_taken_date="20200101"),
    _edit("V622", city="NA"),
    _edit("V627", county_code="01001"),
    _edit("V628-4", applicant_ethnicity_2="1"),
    _edit("V634", co_applicant_ethnicity_basis="4"),
    _edit("V650", co_applicant_sex="5"),
    _edit("V651-2", applicant_ethnicity_1="4", applicant_race_1="7", applicant_sex="4"),
    _edit("V654-2", income="85"),
    _edit("V656-2", purchaser_type="1"),
    _edit("V658-2", hoepa_status="1"),
    _edit("V661", applicant_score_model="9"),
    _edit("V662", applicant_score_model_other="A MODEL OF OUR OWN"),
    _edit("V666-2", co_applicant_score_model="10"),
    _edit("V669-4", denial_reason_2="3"),
    _edit(
        "V670-1",
        denial_reason_1="10", denial_reason_2="", denial_reason_3="", denial_reason_4="", denial_reason_other="",
    ),
    _edit("V670-3", denial_reason_1="3"),
    _edit("V671", denial_reason_other="A REASON OF OUR OWN"),
    _edit("V674-5", origination_charges="500"),
    _edit("V677-2", interest_rate="4.5"),
    _edit("V678-5", prepayment_penalty_term="400"),
    _edit("V681-2", combined_loan_to_value_ratio="80"),
    _edit("V688-2", property_value="250000"),
    _edit("V692-2", total_units="3"),
    _edit("V692-3", multifamily_affordable_units="200"),
    _edit("V693", submission_of_application="3"),
    _edit("V696-3", aus_result_2="3"),
    _edit("V700-1", aus_result_1="3"),
    _edit("V702", aus_other="A SYSTEM OF OUR OWN"),
    _edit("V709", city="Exempt"),
    _edit("V714", submission_of_application="1111"),
)

ACTS = 40
