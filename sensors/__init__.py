"""When: landing-zone sensors and schedules."""
