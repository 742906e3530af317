"""Loops over voxels and pixels of tilt series: arrays in, arrays out, no interpreter lock.

``rays`` goes through the slices of a volume, ``detector_frame`` from the frame of the tilt axis to the
detector.
"""
