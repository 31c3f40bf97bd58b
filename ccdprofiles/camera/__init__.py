"""A camera: its profile with sections, amplifiers, header cards and recipe."""
