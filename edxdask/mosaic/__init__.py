"""Neighbouring maps and frames of one map, put in place."""
