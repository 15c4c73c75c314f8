"""Names of the columns that the platform adds to every row; a contract may not use them.

The rows' own room (`processing.frame`) gives them their meaning; a test holds the two lists together.
"""

from __future__ import annotations

SYSTEM_COLUMNS = (
    "_record_id",
    "_business_date",
    "_sender",
    "_arrival",
    "_source_file",
    "_source_record",
    "_batch_id",
    "_ingested_at",
    "ingest_date",
    "_order",
    "_status",
    "_errors",
)

# Those by which a table may be partitioned; all are constants of a file or an attempt.
PARTITION_COLUMNS = ("ingest_date", "_business_date", "_sender")
