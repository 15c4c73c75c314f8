"""Rules about the parameters of jobs."""

from __future__ import annotations

import re

from pipeline_xml.model import Application, Parameter
from pipeline_xml.parameters import RESERVED, parameter_value
from pipeline_xml.rulebook import Report, catalog_rule
from pipeline_xml.types import KINDS, parse_type

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@catalog_rule("LK630")
def types_and_defaults(applications: tuple[Application, ...], report: Report) -> None:
    """A parameter has a type of contracts, and its default is a value of it."""
    for parameter in (p for a in applications for job in a.jobs for p in job.parameters):
        try:
            kind = parse_type(parameter.type)
        except ValueError:
            valid = [k if k != "decimal" else "decimal(p,s)" for k in KINDS]
            report(f"unknown type '{parameter.type}'", parameter.place("type"), valid)
            continue
        if parameter.default is not None:
            try:
                parameter_value(parameter.default, kind)
            except ValueError as error:
                report(f"the default of '{parameter.name}' is {error}", parameter.place("default"))


@catalog_rule("LK631")
def names(applications: tuple[Application, ...], report: Report) -> None:
    """A parameter has a name that an expression can write, once in its job, and not one of the platform's own."""
    for job in (j for a in applications for j in a.jobs):
        seen: set[str] = set()
        for parameter in job.parameters:
            where = parameter.place("name")
            if parameter.name in RESERVED:
                report(f"':{parameter.name}' is there without a parameter", where, hint="choose another name")
            elif not _NAME.match(parameter.name):
                report(f"':{parameter.name}' cannot be written in an expression", where,
                       hint="letters, digits and _, not a digit first")  # fmt: skip
            elif parameter.name in seen:
                report(f"the parameter '{parameter.name}' is there twice", where)
            seen.add(parameter.name)


@catalog_rule("LK632")
def one_meaning(applications: tuple[Application, ...], report: Report) -> None:
    """Jobs that run one pipeline declare a parameter alike: it also runs alone, and takes up what another left."""
    for application in applications:
        first: dict[tuple[str, str], Parameter] = {}
        told: set[Parameter] = set()
        for job in application.jobs:
            for pipeline in sorted({name for ref in job.refs for name in (ref.id, ref.fallback) if name}):
                for parameter in job.parameters:
                    other = first.setdefault((pipeline, parameter.name), parameter)
                    alike = (other.type, other.default) == (parameter.type, parameter.default)
                    if not alike and other.where.file != parameter.where.file and parameter not in told:
                        told.add(parameter)
                        message = f"'{parameter.name}' of pipeline '{pipeline}' has another type or default"
                        report(message, parameter.place("name"), hint=f"as at {other.where}")


@catalog_rule("LK633")
def given_by_nobody(applications: tuple[Application, ...], report: Report) -> None:
    """A job that starts by a schedule has a default for each parameter: at a tick nobody gives a value."""
    for job in (j for a in applications for j in a.jobs if j.schedule):
        for parameter in job.parameters:
            if parameter.default is None:
                message = f"'{parameter.name}' has no default, and a schedule starts the job"
                report(message, parameter.place("name"), hint='default="…"')
