"""The columns that every row carries beside its own, and the states a record can end in.

While a batch is computed a record never leaves its frame: a step that drops a record sets `_status` instead, so that
the frame always holds every record of the driving source and each can be counted.
"""

from __future__ import annotations

RECORD_ID = "_record_id"  # string: <delivery id>-<record number, 10 digits>; from a lake table the upstream row's
BATCH_ID = "_batch_id"
BUSINESS_DATE = "_business_date"  # date: the last day of the period
SENDER = "_sender"
ARRIVAL = "_arrival"  # bigint: sequence number of the file
SOURCE_FILE = "_source_file"  # string: the file's name in its landing zone
SOURCE_RECORD = "_source_record"  # bigint: 1-based physical data record of the file
INGESTED_AT = "_ingested_at"  # timestamp: when the attempt was opened
INGEST_DATE = "ingest_date"  # date: the UTC date of _ingested_at
ORDER = "_order"

IDENTITY = (RECORD_ID, BUSINESS_DATE, SENDER, ARRIVAL, SOURCE_FILE, SOURCE_RECORD)  # carried through the frame
STAMPED = (BATCH_ID, INGESTED_AT, INGEST_DATE)  # constants of the attempt, added when rows are staged

STATUS = "_status"  # string, null while the record is alive
ERRORS = "_errors"  # array<struct<rule,column,code,message,severity: string>>, null where there are none
ERROR_FIELDS = ("rule", "column", "code", "message", "severity")
ERRORS_DDL = "array<struct<rule:string,column:string,code:string,message:string,severity:string>>"

# struct of a rejected record's columns as its table had them, null for others; only where steps write over columns
ORIGINAL = "_original"

ACCEPTED = "accepted"
QUARANTINED = "quarantined"
DEDUPLICATED = "deduplicated"
FILTERED = "filtered"
SUPERSEDED = "superseded"
SKIPPED = "skipped"
STATUSES = (ACCEPTED, QUARANTINED, DEDUPLICATED, FILTERED, SUPERSEDED, SKIPPED)
