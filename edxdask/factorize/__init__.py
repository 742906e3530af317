"""Phases from photons: each method of the public names is one module here, its parts are in the folders.

Read the folders in this order: ``iteration`` (updates that need no physics), ``spectra`` (what a spectrum may
be), ``guidance`` (what the user knows of the sample), ``pansharpening`` (bins, and what is chosen from the
data), ``priors`` (maps that are smooth where the photons allow it).
"""
