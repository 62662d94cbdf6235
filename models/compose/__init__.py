"""Packs made of packs, tables and small expressions, without code: `[compose]` in a manifest."""
