"""Vendor readers: one file a format, all behind the Protocol of ``base.py``."""
