"""The steps of a reduction one at a time: CCDData in, CCDData out."""
