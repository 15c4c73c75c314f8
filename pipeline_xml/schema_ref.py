"""schemaRef -> the schema file: in the application's own folders, then common/schemas, and never outside them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline_xml.contract import Contract
from pipeline_xml.contract_read import read_contract
from pipeline_xml.location import Location
from pipeline_xml.model import LAYERS
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code

UNKNOWN_SCHEMA = code("LK408", "A schemaRef names no file in the application's schemas folders or in common/schemas.")
OUTSIDE_SCHEMA = code("LK409", "A schemaRef leaves its folders, is absolute, or is neither .json nor .avsc.")

_ENDINGS = (".json", ".avsc")


class Schemas:
    """Contracts of a config root by reference; each file is read once, its problems reported once."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.root, self.problems = root, problems
        self._read: dict[Path, Contract | None] = {}

    def contract(self, app: str, layer: str, reference: str, where: Location) -> Contract | None:
        """The contract that `reference` means in a pipeline of that layer, or None after a problem was reported."""
        path = PurePosixPath(reference)
        parts = path.parts[1:] if path.parts[:1] == ("schemas",) else path.parts
        if path.is_absolute() or ".." in parts or "\\" in reference or path.suffix not in _ENDINGS or not parts:
            message = f"'{reference}' is no schema reference"
            hint = "a path below schemas/ that ends in .json or .avsc, without '..'"
            OUTSIDE_SCHEMA.report(self.problems, message, where, hint=hint)
            return None
        home = self.root / "applications" / app
        if parts[0] in LAYERS and len(parts) > 1:
            candidates = [(home / parts[0] / "schemas", PurePosixPath(*parts[1:]))]
        else:
            candidates = [(home / layer / "schemas", PurePosixPath(*parts))]
        candidates.append((self.root / "common" / "schemas", PurePosixPath(*parts)))
        for folder, rest in candidates:
            file = folder / rest
            if file.is_file():
                if not file.resolve().is_relative_to(folder.resolve()):
                    OUTSIDE_SCHEMA.report(self.problems, f"'{reference}' is a link out of its folder", where)
                    return None
                return self._contract(file)
        UNKNOWN_SCHEMA.report(self.problems, f"unknown schema '{reference}'", where, self._known(app, layer))
        return None

    def _contract(self, file: Path) -> Contract | None:
        if file not in self._read:
            self._read[file] = read_contract(file, file.relative_to(self.root).as_posix(), self.problems)
        return self._read[file]

    def _known(self, app: str, layer: str) -> list[str]:
        home = self.root / "applications" / app
        found = [f"schemas/{p.name}" for p in sorted((home / layer / "schemas").glob("*")) if p.suffix in _ENDINGS]
        for other in LAYERS:
            if other != layer:
                files = sorted((home / other / "schemas").glob("*"))
                found += [f"schemas/{other}/{p.name}" for p in files if p.suffix in _ENDINGS]
        common = sorted((self.root / "common" / "schemas").glob("*"))
        return found + [p.name for p in common if p.suffix in _ENDINGS]
