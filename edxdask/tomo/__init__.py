"""Tilt series of photons: where each projection lies, and the volumes of phases behind them.

``geometry`` says where projections look from, and every other module takes it. ``projector``,
``detector_frame`` and ``side_by_side`` take volumes to projections and back; ``classical`` and
``image_volumes`` are filtered back projection and SIRT of images. ``alignment``, the modules named after it,
and ``reprojection`` find how projections moved; ``sight`` and ``absorption`` say what detectors see.
``classes`` and ``class_cube`` merge channels; ``estimate``, ``prior``, ``strength``, ``yields``, ``quality``
and ``mixing`` make volumes and judge them; ``tasks``, ``slabs``, ``memory``, ``records`` do so out of core.
``volume_spectra`` and ``voxel_clusters`` find spectra again in three dimensions.
``atoms`` and ``projections`` are made from finished volumes.
"""
