"""Photon partitions, block steps and the one driver that runs them, on threads or on distributed."""
