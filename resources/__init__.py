"""The outside: engine, lake tables, landing zones, secrets. Plain connections."""
