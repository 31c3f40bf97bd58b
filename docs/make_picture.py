"""Make ``_static/before-after.png``: a raw frame of a simulated LFC night, and what became of it.

Run it from anywhere: ``python docs/make_picture.py``. It needs matplotlib.
"""

import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

from ccdprofiles import reduce_night, simulate_night
from ccdprofiles.simulate import windowed

PICTURE = Path(__file__).parent / "_static" / "before-after.png"
ROWS, COLUMNS = 1000, 1000
BAND = (500, 540)
RED, BLUE = "#b3401f", "#1f5fa8"


def main() -> None:
    """Simulate, reduce and draw."""
    with tempfile.TemporaryDirectory() as folder:
        night, reduced = Path(folder, "night"), Path(folder, "reduced")
        truth = simulate_night(windowed("lfc", ROWS, COLUMNS), night, seed=1)
        done = reduce_night(night, reduced, profile=truth.known)
        product = done.plan.products[0]
        raw = fits.getdata(night / product.input.file).astype(float)
        calibrated = CCDData.read(done.products[product.name])
    draw(raw, calibrated.data)


def draw(raw: np.ndarray, calibrated: np.ndarray) -> None:
    """Draw the two side by side on one scale, and a cut through both below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    raw = raw - np.median(raw[:, -24:])  # for the scale alone: the same zero in both
    figure = Figure(figsize=(9, 7.1), dpi=105, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(raw.shape[1], COLUMNS), height_ratios=(3.4, 1))
    panels = (
        ("raw, its overscan at the right", raw, RED),
        ("calibrated", calibrated, BLUE),
    )
    cut = figure.add_subplot(grid[1, :])
    for n, (title, image, colour) in enumerate(panels):
        sky = np.median(image[:, :COLUMNS])
        axes = figure.add_subplot(grid[0, n])
        axes.imshow(
            image,
            origin="lower",
            cmap="gray",
            vmin=0.75 * sky,
            vmax=1.3 * sky,
            interpolation="antialiased",
            extent=(0.5, image.shape[1] + 0.5, 0.5, image.shape[0] + 0.5),
        )
        axes.axhspan(*BAND, facecolor="none", edgecolor=colour, linewidth=1.2)
        axes.set_title(title, color=colour, fontsize=12)
        axes.set_xlabel("column")
        if n:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("row")
        level = np.median(image[BAND[0] - 1 : BAND[1], :COLUMNS], axis=0)
        cut.plot(np.arange(1, COLUMNS + 1), 100 * level / sky, color=colour, linewidth=0.9)
    cut.axhline(100, color="0.7", linewidth=0.8, zorder=0)
    cut.set(xlim=(1, COLUMNS), xlabel="column", ylabel="sky, % of its median")
    cut.set_title(f"median of rows {BAND[0]} to {BAND[1]}, above the pedestal", fontsize=10)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # So few shades of grey keep the file small, and nobody sees it.
    image.quantize(96).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
