"""`config/environments/<env>.toml`: the values of `${name}` in definitions. Never secrets: those go by reference."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_xml.element import Element
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code
from pipeline_xml.scan import read_bytes

UNKNOWN_VARIABLE = code("LK020", "A variable `${name}` that the environment's file does not define.")
BAD_ENVIRONMENT = code(
    "LK021", "The environment's file is not TOML, or holds something that is no text, number or boolean."
)
SECRET_VARIABLE = code(
    "LK022", "A variable that is named like a secret. Secrets are referenced (secretRef), never written down."
)

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_SECRET = re.compile(
    r"(^|[_.\-])(password|passwd|secret|token|credential|private_?key|api_?key)s?($|[_.\-])", re.IGNORECASE
)
_PLACE = re.compile(r"at line (\d+), column (\d+)")
_MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Variables:
    """The values of one environment; `file` is where they are, or would be, written."""

    environment: str
    file: str
    values: Mapping[str, str]

    def fill(self, element: Element, problems: Problems) -> Element:
        """The element with every `${name}` replaced; an unknown one is reported and stays as it is."""

        def change(text: str, where: Location) -> str:
            return self._filled(text, where, problems) if "${" in text else text

        return element.map_values(change)

    def _filled(self, text: str, where: Location, problems: Problems) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name in self.values:
                return self.values[name]
            place = replace(where, column=where.column + match.start()) if "\n" not in text else where
            UNKNOWN_VARIABLE.report(
                problems, f"unknown variable '{name}'", place, sorted(self.values), hint=f"define it in {self.file}"
            )
            return match[0]

        return _VARIABLE.sub(value, text)


def read_variables(root: Path, environment: str, problems: Problems) -> Variables:
    """The variables of `environments/<environment>.toml` under the config root; none where there is no such file."""
    file = f"environments/{environment}.toml"
    path = root / "environments" / f"{environment}.toml"
    empty = Variables(environment, file, {})
    if not re.fullmatch(r"[A-Za-z0-9_\-]+", environment) or not path.exists():
        return empty
    data = read_bytes(path, file, problems, _MAX_BYTES)
    if data is None:
        return empty
    try:
        document = tomllib.loads(data.decode())
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = Location(file, int(place[1]), int(place[2])) if place else Location(file)
        BAD_ENVIRONMENT.report(problems, f"not TOML: {str(error).split(' (at')[0]}", where)
        return empty
    except RecursionError:
        BAD_ENVIRONMENT.report(problems, "nested too deeply", Location(file))
        return empty
    values: dict[str, str] = {}
    _flatten(document, "", values, data.decode().splitlines(), file, problems)
    return Variables(environment, file, values)


def _flatten(
    table: Mapping[str, object], prefix: str, out: dict[str, str], lines: list[str], file: str, problems: Problems
) -> None:
    for key, value in table.items():
        name = f"{prefix}{key}"
        line = next((n for n, text in enumerate(lines, 1) if text.lstrip().startswith((key, f'"{key}"', f"[{key}"))), 1)
        where = Location(file, line)
        if isinstance(value, Mapping):
            _flatten(value, f"{name}.", out, lines, file, problems)
        elif _SECRET.search(name) and not name.lower().endswith("ref"):
            SECRET_VARIABLE.report(
                problems, f"'{name}' is named like a secret", where, hint="use secretRef in resources"
            )
        elif isinstance(value, bool):
            out[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            out[name] = str(value)
        else:
            BAD_ENVIRONMENT.report(problems, f"'{name}' is no text, number or boolean", where)
