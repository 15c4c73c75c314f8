"""N applications of M realistic pipelines: `python -m benchmarks.definitions ROOT APPLICATIONS PIPELINES`.

A feed is three pipelines: a register of 30 columns into staging (12 rules, deduplicate, derive, mask), its merge into
standardization with a lookup, and a daily aggregate in service; a job a feed runs them. The pipelines of an application
beyond a multiple of three are further stagings. Texts differ from pipeline to pipeline, as people's do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

KINDS: tuple[dict[str, object], ...] = (
    {"type": "string", "maxLength": 60},
    {"type": "integer", "minimum": 0},
    {"type": "string", "format": "date"},
    {"type": "number", "x-type": "decimal(18,2)"},
    {"type": ["string", "null"], "pattern": "^[A-Z]{3}$"},
)
COLUMNS = 24


def write(root: Path, applications: int, pipelines: int) -> None:
    """Writes the definitions below the config root `root`; no more than `pipelines` in each application."""
    for a in range(applications):
        home = root / "applications" / f"app{a:03d}"
        _put(home / "staging/resources/zones.xml", _resources(pipelines))
        _put(home / "lookups/country.csv", "country,country_name\nAUT,Austria\nESP,Spain\n")
        _put(home / "lookups/country.json", json.dumps(_lookup(), indent=1))
        for p in range(0, pipelines, 3):
            name = f"feed{p // 3:04d}"
            _put(home / f"staging/schemas/{name}.json", json.dumps(_contract(name, a + p), indent=1))
            _put(home / f"staging/pipelines/{name}.xml", _staging(f"app{a:03d}", name))
            _put(home / f"exceptions/rules/{name}.xml", _rules(name))
            if p + 2 < pipelines:
                _put(home / f"standardization/pipelines/{name}_clean.xml", _clean(f"app{a:03d}", name))
                _put(home / f"service/pipelines/{name}_totals.xml", _totals(f"app{a:03d}", name))
                _put(home / f"service/jobs/{name}_daily.xml", _job(name))
            elif p + 1 < pipelines:
                _put(home / f"standardization/pipelines/{name}_clean.xml", _clean(f"app{a:03d}", name))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _lookup() -> dict[str, object]:
    text = {"type": "string"}
    columns = {"country": text, "country_name": text}
    return {"type": "object", "x-primaryKey": ["country"], "required": ["country"], "properties": columns}


def _contract(name: str, seed: int) -> dict[str, object]:
    own = {f"c{n:02d}_{name}": KINDS[(n + seed) % len(KINDS)] for n in range(COLUMNS)}
    fixed = {
        "id": {"type": "integer", "x-type": "bigint"},
        "country": {"type": ["string", "null"], "pattern": "^[A-Z]{3}$"},
        "status": {"type": "string", "enum": ["open", "paid", "gone"]},
        "amount": {"type": "number", "x-type": "decimal(18,2)", "minimum": 0, "x-codes": ["NA"]},
        "customer": {"type": "string", "x-classification": "pii", "maxLength": 80},
        "updated_at": {"type": "string", "format": "date-time"},
    }
    return {
        "title": name, "type": "object", "x-version": "1", "x-primaryKey": ["id"], "x-orderBy": ["updated_at"],
        "required": ["id", "updated_at"], "properties": {**fixed, **own},
    }  # fmt: skip


def _resources(pipelines: int) -> str:
    zones = "".join(
        f'  <landingZone id="feed{n:04d}" type="local" uri="landing/feed{n:04d}" poll="PT30S"/>\n'
        for n in range((pipelines + 2) // 3)
    )
    return f'<resources>\n{zones}  <maskKey id="default" secretRef="BENCH_MASK_KEY"/>\n</resources>\n'


def _head(app: str, name: str, layer: str) -> str:
    return f"""<pipeline id="{name}" version="1.0" layer="{layer}">
  <metadata>
    <appName>{app}</appName>
    <sla>PT4H</sla>
    <description>What {name} of {app} brings to {layer}.</description>
    <owner>{name}@example.com</owner>
    <tags>finance, {name}</tags>
  </metadata>
"""


def _staging(app: str, name: str) -> str:
    return f"""{_head(app, name, "staging")}  <sources>
    <csv id="{name}" landing="{name}" pattern="{name}_(?P&lt;business_date&gt;[0-9]{{8}})\\.csv" header="true">
      <schemaRef>schemas/{name}.json</schemaRef>
    </csv>
  </sources>
  <quality rules="{name}"/>
  <transformations>
    <deduplicate source="{name}" keys="id" keep="latest"/>
    <derive source="{name}">
      <column name="large_{name}" expression="case when amount > 10000.00 then 'large' else status end"/>
      <column name="code_{name}" expression="upper(coalesce(country, 'XXX'))"/>
    </derive>
    <mask source="{name}" columns="customer" strategy="hash"/>
  </transformations>
  <targets>
    <hive table="staging.{name}" mode="merge" keys="id" orderBy="updated_at" partitionBy="status"/>
  </targets>
  <errorPolicy onRecordError="quarantine" maxErrorRate="0.1" remediationSla="P5D"/>
</pipeline>
"""


def _rules(name: str) -> str:
    edits = "".join(
        f'  <satisfies id="edit_{n}" expression="status &lt;&gt; \'paid\' or amount > {n}.00" severity="warning"/>\n'
        for n in range(5)
    )
    return f"""<rulePack id="{name}" owner="{name}@example.com">
  <notNull id="customer_given" column="customer"/>
  <in id="known_status" column="status" values="open, paid, gone"/>
  <between id="amount_range" column="amount" min="0" max="1000000.00"/>
  <matches id="country_code" column="country" pattern="^[A-Z]{{3}}$"/>
  <length id="customer_length" column="customer" min="2"/>
{edits}  <unique id="one_row_an_id" columns="id"/>
  <completeness id="countries" column="country" min="0.95"/>
</rulePack>
"""


def _clean(app: str, name: str) -> str:
    return f"""{_head(app, f"{name}_clean", "standardization")}  <sources>
    <hive id="{name}" table="staging.{name}" read="partition"/>
  </sources>
  <transformations>
    <filter source="{name}" condition="status &lt;&gt; 'gone'" onReject="drop"/>
    <lookup source="{name}" reference="country" outputFields="country_name" on="country=country"/>
  </transformations>
  <targets>
    <hive table="standardization.{name}_clean" mode="merge" keys="id" orderBy="updated_at"/>
  </targets>
</pipeline>
"""


def _totals(app: str, name: str) -> str:
    return f"""{_head(app, f"{name}_totals", "service")}  <sources>
    <hive id="clean" table="standardization.{name}_clean" read="full"/>
  </sources>
  <transformations>
    <aggregate source="clean" groupBy="country_name,status" metrics="count:records,sum:amount:total" as="totals"/>
  </transformations>
  <targets>
    <hive table="service.{name}_totals" mode="overwrite"/>
  </targets>
  <errorPolicy onRecordError="skip"/>
</pipeline>
"""


def _job(name: str) -> str:
    return f"""<jobPipeline id="{name}_daily" version="1.0">
  <schedule>0 6 * * *</schedule>
  <pipelines>
    <pipelineRef id="{name}" onFailure="retry" maxRetries="2"/>
    <pipelineRef id="{name}_clean" dependsOn="{name}"/>
    <pipelineRef id="{name}_totals" dependsOn="{name}_clean" onFailure="continue"/>
  </pipelines>
  <notifications>
    <webhook urlSecretRef="CHAT_URL" on="failure"/>
  </notifications>
</jobPipeline>
"""


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
