"""Text. What decides how a function works (lengths, patterns) is a literal by the time it comes here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline_xml.expressions.tree import Call
from processing.emitted import Emitter, Part, constants, plain, steps_of

if TYPE_CHECKING:
    from pyspark.sql import Column

LONGEST = 1_000_000


def _engine(name: str) -> Emitter:
    """The engine's function of that name, over all arguments."""

    def make(*values: Column) -> Column:
        from pyspark.sql import functions as F

        found: Column = getattr(F, name)(*values)
        return found

    return plain(make)


def _with_constants(make: Callable[..., Column]) -> Emitter:
    """`make(value of the first argument, literals of the others)`."""

    def emitter(call: Call, arguments: list[Part]) -> Part:
        return Part(make(arguments[0].value, *constants(call, 1)), arguments[0].steps)

    return emitter


def _substring(text: Column, start: Any, length: Any = LONGEST) -> Column:
    from pyspark.sql import functions as F

    return F.substring(text, start, length)


def _left(text: Column, count: Any) -> Column:
    from pyspark.sql import functions as F

    return F.substring(text, 1, count)


def _right(text: Column, count: Any) -> Column:
    from pyspark.sql import functions as F

    return F.right(text, F.lit(count))


def _pad(side: str) -> Callable[..., Column]:
    def make(text: Column, length: Any, fill: Any) -> Column:
        from pyspark.sql import functions as F

        return F.lpad(text, length, fill) if side == "left" else F.rpad(text, length, fill)

    return make


def _concat_ws(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    (separator,) = constants(call, 0)[:1]
    value = F.concat_ws(str(separator), *(a.value for a in arguments[1:]))
    return Part(value, steps_of(arguments))


def _translate(text: Column, source: Any, target: Any) -> Column:
    from pyspark.sql import functions as F

    return F.translate(text, source, target)


def _split_part(text: Column, delimiter: Any, part: Any) -> Column:
    from pyspark.sql import functions as F

    return F.split_part(text, F.lit(delimiter), F.lit(part))


def _regexp_extract(text: Column, pattern: Any, group: Any) -> Column:
    from pyspark.sql import functions as F

    return F.regexp_extract(text, pattern, group)


def _regexp_replace(text: Column, pattern: Any, by: Any) -> Column:
    from pyspark.sql import functions as F

    return F.regexp_replace(text, pattern, by)


def _sha256(text: Column) -> Column:
    from pyspark.sql import functions as F

    return F.sha2(text, 256)


EMITTERS: Mapping[str, Emitter] = {
    "length": _engine("length"),
    "upper": _engine("upper"),
    "lower": _engine("lower"),
    "trim": _engine("trim"),
    "ltrim": _engine("ltrim"),
    "rtrim": _engine("rtrim"),
    "substring": _with_constants(_substring),
    "left": _with_constants(_left),
    "right": _with_constants(_right),
    "concat": _engine("concat"),
    "concat_ws": _concat_ws,
    "replace": _engine("replace"),
    "translate": _with_constants(_translate),
    "lpad": _with_constants(_pad("left")),
    "rpad": _with_constants(_pad("right")),
    "starts_with": _engine("startswith"),
    "ends_with": _engine("endswith"),
    "contains": _engine("contains"),
    "instr": _engine("instr"),
    "split_part": _with_constants(_split_part),
    "regexp_extract": _with_constants(_regexp_extract),
    "regexp_replace": _with_constants(_regexp_replace),
    "sha256": plain(_sha256),
}
