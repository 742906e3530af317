"""``tomography``: a tilt series of photons to volumes of its phases, out of core.

``series`` checks what is given, ``prepare`` finds spectra, geometry and yields (``phases``, ``refined``,
``model``), ``run`` writes counts by class and reconstructs slabs, ``label`` says what was made, and ``entry``
joins them.
"""

from edxdask.tomographies.entry import tomography

__all__ = ["tomography"]
