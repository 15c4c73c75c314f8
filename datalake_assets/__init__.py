"""What: Dagster definitions built from the checked model."""
