"""The language: XML documents become a checked, frozen model. Imports nothing of ours."""
