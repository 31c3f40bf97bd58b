"""One product from its frames: masters, flats, calibrated science frames."""
