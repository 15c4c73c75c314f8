"""The way back: quarantined records assigned, corrected, approved by another person, replayed; every step audited."""
