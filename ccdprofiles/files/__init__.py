"""Files on the disk: headers and pixels of FITS, output folders, writes."""
