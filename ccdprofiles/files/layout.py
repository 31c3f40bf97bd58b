"""The names of the folders and files in an output folder."""

__all__ = [
    "CALIBRATIONS",
    "CHIPS",
    "FOLDERS",
    "LOG",
    "MASTERS",
    "NIGHT",
    "PAGE",
    "PLAN",
    "PRODUCTS",
    "REPORT",
    "SCIENCE",
    "TABLES",
]

MASTERS, SCIENCE, REPORT = "masters", "science", "report"

CHIPS = "chips"
"""The folder in that of the science frames for products that are joined in files of all chips."""

PRODUCTS = (MASTERS, SCIENCE)
"""The folders that contain products."""

FOLDERS = (*PRODUCTS, REPORT)
"""All folders of an output."""

NIGHT, PLAN, PAGE = "night.ecsv", "plan.json", f"{REPORT}/index.html"

TABLES = (NIGHT, PLAN, PAGE)
"""The files that a run writes besides products and its log."""

LOG = "ccdprofiles.log"

CALIBRATIONS = "calibrations/"
"""The beginning of the names of masters from ``calibrations=``."""
