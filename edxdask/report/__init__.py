"""Figures, tables and reports: reads cubes and results, computes no model."""
