"""Figures and texts for people: reads cubes and results, computes no model.

The modules import matplotlib, so they are imported where they are needed.
"""
