"""The rows: records in, records out. Never Dagster, never a connection."""
