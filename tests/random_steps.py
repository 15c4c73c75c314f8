"""Random pipelines that are right by construction: steps over a small table, each fitting the columns it finds."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

PROPERTIES: Mapping[str, Any] = {
    "id": {"type": "string"},
    "k": {"type": "string"},
    "n": {"type": "integer"},
    "m": {"type": "number", "x-type": "decimal(10,2)"},
    "d": {"type": "string", "format": "date"},
    "at": {"type": "string", "format": "date-time"},
    "b": {"type": "boolean"},
}
_KINDS = {"id": "text", "k": "text", "n": "int", "m": "decimal", "d": "date", "at": "timestamp", "b": "boolean"}
_TEXTS = ("a", "b", "B", "é", "", "a b", "10", "x-1")


def rows(chance: random.Random) -> list[dict[str, Any]]:
    """Up to 30 rows; a third of the cells but the id are null, keys repeat, a few rows are rejected already."""

    def cell(make: Callable[[], Any]) -> Any:
        return None if chance.random() < 0.3 else make()

    return [
        {
            "id": f"r{number}",
            "k": cell(lambda: chance.choice(_TEXTS)),
            "n": cell(lambda: chance.choice((0, 1, -1, 7, 2**31 - 1, -(2**31)))),
            "m": cell(lambda: Decimal(chance.choice(("0.00", "1.10", "-99999999.99", "99999999.99", "0.05")))),
            "d": cell(lambda: date(2024, chance.choice((1, 2, 12)), chance.randint(1, 29))),
            "at": cell(lambda: datetime(2024, 2, chance.randint(1, 29), chance.randint(0, 23), 30, tzinfo=UTC)),
            "b": cell(lambda: chance.random() < 0.5),
            **({"_status": "quarantined"} if chance.random() < 0.1 else {}),
        }
        for number in range(1, chance.randint(2, 30))
    ]


class Steps:
    """Writes steps over dataset `s`; `kinds` are the columns as they are after the last one."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kinds = dict(_KINDS)
        self.records = True
        self._fresh = 0

    def some(self, number: int) -> str:
        """The text of so many steps."""
        found = []
        for _ in range(number):
            makers = [self._rename, self._select, self._cast, self._derive, self._filter, self._sort, self._mask]
            makers += [self._deduplicate, self._aggregate, self._join] if self.records else []
            found.append(self.chance.choice(makers)())
        return "\n".join(step for step in found if step)

    def _name(self) -> str:
        self._fresh += 1
        return f"c{self._fresh}"

    def _of(self, *kinds: str) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def _pick(self, names: Sequence[str], least: int = 1, most: int = 2) -> list[str]:
        return self.chance.sample(list(names), min(len(names), self.chance.randint(least, most)))

    def _rename(self) -> str:
        old, new = self.chance.choice(list(self.kinds)), self._name()
        self.kinds = {(new if name == old else name): kind for name, kind in self.kinds.items()}
        return f'<rename source="s" columns="{old}={new}"/>'

    def _select(self) -> str:
        kept = self._pick(list(self.kinds), max(1, len(self.kinds) - 2), len(self.kinds))
        self.kinds = {name: self.kinds[name] for name in kept}
        return f'<select source="s" columns="{",".join(kept)}"/>'

    def _cast(self) -> str:
        names = self._of("text", "int", "decimal", "date")
        if not names:
            return ""
        name = self.chance.choice(names)
        wanted = {"text": ("int", "date", "decimal(12,3)"), "int": ("bigint", "string", "decimal(12,0)"),
                  "decimal": ("int", "string", "decimal(6,1)"), "date": ("timestamp", "string")}  # fmt: skip
        kind = self.chance.choice(wanted[self.kinds[name]])
        known = {"string": "text", "bigint": "int", "timestamp": "timestamp", "date": "date", "int": "int"}
        self.kinds[name] = known.get(kind, "decimal")
        lenient = self.chance.choice(("", ' onInvalid="null"'))
        return f'<cast source="s"{lenient}><column name="{name}" type="{kind}"/></cast>'

    def _derive(self) -> str:
        new = self._name()
        texts, numbers, days = self._of("text"), self._of("int", "decimal"), self._of("date")
        choices = [("'x'", "text")]
        if texts:
            one, two = self.chance.choice(texts), self.chance.choice(texts)
            choices += [(f"concat(upper({one}), '-', {two})", "text"), (f"length({one})", "int"),
                        (f"coalesce({one}, 'none')", "text"), (f"sha256({one})", "text")]  # fmt: skip
        if numbers:
            one = self.chance.choice(numbers)
            choices += [(f"case when {one} &gt; 0 then 'up' when {one} &lt; 0 then 'down' end", "text"),
                        (f"{one} % 2 = 0", "boolean"), (f"round({one} / 3, 2)", "double")]  # fmt: skip
        if days:
            choices += [(f"date_add({self.chance.choice(days)}, 30)", "date"), (f"year({days[0]})", "int")]
        text, kind = self.chance.choice(choices)
        self.kinds[new] = kind
        return f'<derive source="s"><column name="{new}" expression="{text}"/></derive>'

    def _filter(self) -> str:
        name = self.chance.choice(list(self.kinds))
        conditions = {
            "text": f"{name} &lt;&gt; 'a'", "int": f"{name} &gt;= 0", "decimal": f"{name} &gt;= 0", "boolean": name,
            "double": f"{name} &lt; 1e3", "date": f"{name} &gt; date '2024-02-10'", "timestamp": f"{name} is not null",
        }  # fmt: skip
        reject = self.chance.choice(("drop", "quarantine"))
        return f'<filter source="s" condition="{conditions[self.kinds[name]]}" onReject="{reject}"/>'

    def _sort(self) -> str:
        return f'<sort source="s" orderBy="{",".join(self._pick(list(self.kinds)))}"/>'

    def _mask(self) -> str:
        name = self.chance.choice(list(self.kinds))
        if self.kinds[name] == "double":
            return ""
        self.kinds[name] = "text"
        return f'<mask source="s" columns="{name}" strategy="{self.chance.choice(("hash", "redact", "encrypt"))}"/>'

    def _deduplicate(self) -> str:
        keys = self._pick([n for n, kind in self.kinds.items() if kind != "double"])
        if not keys:
            return ""
        keep, losers = self.chance.choice(("first", "last")), self.chance.choice(("drop", "quarantine"))
        return f'<deduplicate source="s" keys="{",".join(keys)}" keep="{keep}" losers="{losers}"/>'

    def _aggregate(self) -> str:
        groups = self._pick([n for n, kind in self.kinds.items() if kind != "double"], 1, 2)
        times = [n for n in self._of("date", "timestamp") if n not in groups]
        numbers = self._of("int", "decimal")
        metrics = ["count:lines"] + [f"{f}:{n}:{f}_{n}" for n in numbers[:2] for f in ("sum", "avg", "max")]
        window = rollup = ""
        kinds = {name: self.kinds[name] for name in groups}
        if times and self.chance.random() < 0.5:
            every = self.chance.choice(("hourly", "daily", "weekly", "monthly", "0 6 * * 1"))
            rolling = self.chance.choice(("", ' rolling="P3D"'))
            window = f' window="{every}" timeColumn="{times[0]}"{rolling}'
            kinds |= {"window_start": "timestamp", "window_end": "timestamp"}
        if self.chance.random() < 0.3:
            rollup = ' rollup="true"'
            kinds |= {"rollup_level": "int"}
        kinds["lines"] = "int"
        for name in numbers[:2]:
            kinds |= {f"sum_{name}": self.kinds[name], f"avg_{name}": "double", f"max_{name}": self.kinds[name]}
        self.kinds, self.records = kinds, False
        names = ",".join(groups)
        return f'<aggregate source="s" groupBy="{names}" metrics="{",".join(metrics)}"{window}{rollup}/>'

    def _join(self) -> str:
        """With a copy of itself under other names: nulls, keys that repeat, and rows that find nothing."""
        keys = [n for n, kind in self.kinds.items() if kind != "double"]
        if not keys:
            return ""
        other, names = self._name(), {name: self._name() for name in self.kinds}
        key = self.chance.choice(keys)
        kind = self.chance.choice(("inner", "left", "right", "full", "semi", "anti"))
        copy = f'<rename source="s" columns="{",".join(f"{old}={new}" for old, new in names.items())}" as="{other}"/>'
        numbers = self._of("int", "decimal")
        condition = f"s.{key} = {other}.{names[key]}"
        if numbers and kind not in ("semi", "anti") and self.chance.random() < 0.5:
            condition += f" and s.{numbers[0]} &gt; 0"
        self.records = False
        if kind not in ("semi", "anti"):
            self.kinds |= {new: self.kinds[old] for old, new in names.items()}
        return f'{copy}\n<join left="s" right="{other}" type="{kind}" condition="{condition}"/>'
