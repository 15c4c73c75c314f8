"""By hand: `lake`, a thin caller of the rooms."""
