"""The viewer: a local web page of a cube, a result, a collection or a mosaic that may be larger than memory.

``photons_by_energy`` makes what is asked for, ``layers`` says what can be shown, ``scene`` holds one map,
``page`` and the modules beside it draw it in a browser, ``server`` guards it, ``viewer`` starts it.
"""
