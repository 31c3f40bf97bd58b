"""FITS files on the disk: cards, pixels, whole-or-nothing writes."""
