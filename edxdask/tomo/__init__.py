"""Tilt series of photons: where each projection lies, and the volumes of phases behind them.

``geometry`` says where projections look from, and every other module takes it.
"""
