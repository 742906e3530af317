"""Stores, vendor readers, ingest and export."""
