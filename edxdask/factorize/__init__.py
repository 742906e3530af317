"""Phases from photons: each method of the public names is one module here, its parts are in the folders.

Read the folders in this order, in which they also build on one another: ``spectra``, ``iteration``,
``components``, ``priors``, ``identifiability``, ``guidance``, ``pansharpening``. The first line of each
says what it adds.
"""
