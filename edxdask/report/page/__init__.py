"""The report: one self-contained HTML page; a module for each of its sections, templates in ``data/``.

``evidence`` reads and computes what is shown, once; sections turn it into pictures, tables and sentences
(``parts``); ``write`` puts them into the page.
"""
