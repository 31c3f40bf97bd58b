"""A camera: what its profile says of sections, amplifiers, headers and recipe."""
