"""Settings of the documentation site: ``make docs`` builds it into ``out/docs/html``.

Warnings are errors. Notebooks and examples run during the build, and no page needs the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "extensions"))  # small extensions of this site, beside this file
sys.path.insert(0, str(ROOT))

from reference_pages import ALSO_CALLED  # noqa: E402

import edxdask  # noqa: E402  found through the lines above

project = "edxdask"
author = "The edxdask developers"
copyright = author  # Sphinx reads this name
version = release = edxdask.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "gallery_pictures",
    "mathml",
    "reference_pages",
]
exclude_patterns = ["generated/tables", "generated/gallery/*.ipynb", "generated/gallery/*.py"]
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}

nitpicky = True
# Types in docstrings are words for people ("Dataset or DataTree"), not only names that Sphinx could link to.
nitpick_ignore_regex = [(r"py:(class|data|obj|exc)", r".*")]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "out" / "docs" / "notebooks")
nb_execution_in_temp = True  # stores that notebooks write
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"  # notes of the library; notebooks print the warnings of results themselves
myst_update_mathjax = False

autosummary_generate = True
autosummary_context = {"also_called": ALSO_CALLED}
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_pictures.written_pictures",),
    "reset_argv": "gallery_pictures.folder_for",
    "reset_modules": (),
    "capture_repr": (),
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "backreferences_dir": None,
    "copyfile_regex": "",
}

html_theme = "pydata_sphinx_theme"
html_title = "edxdask"
html_show_sourcelink = False
html_favicon = "static/favicon.svg"
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {
    "logo": {"text": "edxdask"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": True,
}
html_sidebars = {"index": []}
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
