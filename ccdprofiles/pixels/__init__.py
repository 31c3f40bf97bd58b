"""Arrays in, arrays out: overscan, combining, calibration, noise, cosmic rays."""
