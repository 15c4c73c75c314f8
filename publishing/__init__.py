"""The batch: claim, raw, stage, check, commit, ledger, journal. Never Dagster."""
