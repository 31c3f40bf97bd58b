"""How the pages are built: ``sphinx-build -W -b html docs docs/_build/html``."""

import logging
import sys
from pathlib import Path

from sphinx_astropy.conf.v3 import *  # noqa: F403

sys.path.insert(0, str(Path(__file__).parent))

import ccdprofiles

project = "ccdprofiles"
author = "The ccdprofiles developers"
copyright = author
version = release = ccdprofiles.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
    "instrument_table",
]
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "astropy": ("https://docs.astropy.org/en/stable", None),
    "ccdproc": ("https://ccdproc.readthedocs.io/en/latest", None),
}
intersphinx_timeout = 5
# The notebooks show the outputs that they were stored with; the tests run them.
nb_execution_mode = "off"
exclude_patterns = ["_build", "api/templates"]

html_static_path = ["_static"]
html_css_files = ["ccdprofiles.css"]
html_title = "ccdprofiles"
html_show_sourcelink = False
html_context = {"default_mode": "light"}
html_theme = "pydata_sphinx_theme"
html_logo = html_favicon = None
html_sidebars = {"**": ["sidebar.html"]}
templates_path = ["_templates"]
html_theme_options = {
    "navbar_persistent": ["search-button"],
    "navbar_start": ["navbar-logo"],
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "instruments": []},
    "show_nav_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}

automodapi_toctreedirnm = "api"
automodsumm_inherited_members = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
nitpicky = False
# The docstrings say it in words.
autodoc_typehints = "none"


def _plain_object(app, name, obj, options, bases):
    """Keep the base class from being linked to a field that is named ``object``."""
    bases[:] = ["``object``" if base is object else base for base in bases]


def _offline_is_no_fault(record):
    """Turn the warning about an inventory out of reach into a remark: names stay without links."""
    if record.levelno == logging.WARNING and "failed to reach any" in str(record.msg):
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def setup(app):
    app.connect("autodoc-process-bases", _plain_object)
    for name in ("sphinx.ext.intersphinx", "sphinx.ext.intersphinx._load"):
        logging.getLogger(f"sphinx.{name}").addFilter(_offline_is_no_fault)
