"""Recipes: what cannot be right is refused when they are made."""

import math

import pytest
from astropy import units as u
from astropy.modeling.models import (
    Const1D,
    Const2D,
    Gaussian2D,
    Identity,
    Mapping,
    Polynomial1D,
    Shift,
)

from ccdprofiles import Combine, CosmicRays, Flat, Recipe, Setting, SpectralFlat
from ccdprofiles.errors import ProfileError


def refusal_of(make, **values):
    with pytest.raises(ProfileError) as refusal:
        make(**values)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"bias": False, "dark": "scale"},
            "dark='scale' needs bias=True or a constant: a dark that still contains its bias cannot be scaled.",
        ),
        (
            {"dark": "scaled"},
            "dark='scaled' is not one of match, scale or None (did you mean 'scale'?).",
        ),
        (
            {"overscan": "medain"},
            "overscan='medain' is not one of median, mean, level or an astropy model "
            "(did you mean 'median'?).",
        ),
        (
            {"overscan": Gaussian2D()},
            "overscan=Gaussian2D(...) is a model of 2 inputs and 1 output; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Gaussian2D() + Const2D()},
            "overscan=CompoundModel(...) is a model of 2 inputs and 1 output; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Shift() & Shift()},
            "overscan=CompoundModel(...) is a model of 2 inputs and 2 outputs; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Mapping((0, 0))},
            "overscan=Mapping(...) is a model of 1 input and 2 outputs; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Identity(1)},
            "overscan=Identity(...) is a model without parameters to fit; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Const1D([1, 2], n_models=2)},
            "overscan=Const1D(...) is a set of 2 models; use a model that gives a level for each row, such as Polynomial1D(3).",
        ),
        (
            {"overscan": Polynomial1D},
            "overscan=Polynomial1D is a class, but a model was expected; write "
            "overscan=Polynomial1D(...).",
        ),
        (
            {"bias": "yes"},
            "bias='yes' is not True or False, nor a constant; use such as bias=100 * u.adu, or "
            "Setting('OFFSET', {...}, unit=u.adu).",
        ),
        (
            {"bias": 100},
            "bias=100 is not True or False, nor a constant; use such as bias=100 * u.adu, or Setting('OFFSET', {...}, unit=u.adu).",
        ),
        ({"bias": 100 * u.s}, "bias=100.0 s is not in adu; write it as bias=100.0 * u.adu."),
        ({"bias": -5 * u.adu}, "bias=-5.0 adu is not a positive number."),
        (
            {"bias": Setting("OFFSET", {10: 1}, unit=u.s)},
            "bias=1.0 s is not in adu; write it as bias=1.0 * u.adu.",
        ),
        ({"electrons": 1}, "electrons=1 is not True or False."),
        (
            {"exposure_tolerance": 1},
            "exposure_tolerance=1 is not in s; write it as exposure_tolerance=1 * u.s.",
        ),
        (
            {"overscan_drift": 10},
            "overscan_drift=10 is not in adu; write it as overscan_drift=10 * u.adu.",
        ),
        (
            {"flat": "median"},
            "flat='median' is not a flat recipe; use Flat(), SpectralFlat(...) or None.",
        ),
        ({"flat": True}, "flat=True is not a flat recipe; use Flat(), SpectralFlat(...) or None."),
        (
            {"cosmic_rays": True},
            "cosmic_rays=True is not a cosmic-ray detection; use CosmicRays() or None.",
        ),
        (
            {"combine": "median"},
            "combine='median' is not a way to combine frames; use Combine(...).",
        ),
        (
            {"combine": {"bias": "median"}},
            "combine='median' is not a way to combine frames; use Combine(...).",
        ),
        (
            {"combine": {"flats": Combine()}},
            "combine='flats' is not one of bias, dark, flat, arc (did you mean 'flat'?).",
        ),
        (
            {"name": "reduced"},
            "name='reduced' is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
        (
            {"name": "out/{stem}"},
            "name='out/{stem}' is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
        (
            {"name": "{stem}_{filter}"},
            "name='{stem}_{filter}' is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
        (
            {"name": None},
            "name=None is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
        (
            {"name": "{stem}\0"},
            "name='{stem}\\x00' is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
        (
            {"name": "{stem}\udcff"},
            "name='{stem}\\udcff' is not a product name; use a text with {stem} and without a folder, such as '{stem}_cal'.",
        ),
    ],
)
def test_refuses_a_recipe_that_cannot_be_right(values, sentence):
    assert refusal_of(Recipe, **values) == sentence


@pytest.mark.parametrize(
    ("make", "values", "sentence"),
    [
        (
            Combine,
            {"method": "mean"},
            "method='mean' is not one of average, median, sum (did you mean 'median'?).",
        ),
        (Combine, {"clip": 0}, "clip=0 is not a positive number; use such a number, or None."),
        (
            Combine,
            {"clip": True},
            "clip=True is not a positive number; use such a number, or None.",
        ),
        (
            Combine,
            {"clip": math.nan},
            "clip=nan is not a positive number; use such a number, or None.",
        ),
        (Flat, {"scale": "inverse"}, "scale='inverse' is not one of median, mode, mean."),
        (Flat, {"minimum": 1.5}, "minimum=1.5 is not a fraction between 0 and 1."),
        (
            SpectralFlat,
            {"dispersion": 1},
            "dispersion=1 is not one of x, y.",
        ),
        (
            SpectralFlat,
            {"dispersion": "y", "fit": "splines"},
            "fit='splines' is not one of spline, polynomial (did you mean 'spline'?).",
        ),
        (
            SpectralFlat,
            {"dispersion": "y", "fit": Polynomial1D},
            "fit=Polynomial1D is not one of spline, polynomial.",
        ),
        (
            SpectralFlat,
            {"dispersion": "y", "order": 2.5},
            "order=2.5 is not a positive whole number.",
        ),
        (
            SpectralFlat,
            {"dispersion": "y", "illuminated": 80},
            "illuminated=80 is not a fraction between 0 and 1.",
        ),
        (SpectralFlat, {"dispersion": "y", "clip": -1}, "clip=-1 is not a positive number."),
        (CosmicRays, {"sigclip": 0}, "sigclip=0 is not a positive number."),
        (CosmicRays, {"sigclip": 10**400}, f"sigclip={10**400} is not a positive number."),
        (CosmicRays, {"niter": 2.5}, "niter=2.5 is not a positive whole number."),
        (CosmicRays, {"repair": "no"}, "repair='no' is not True or False."),
        (CosmicRays, {"sepmed": 1}, "sepmed=1 is not True or False."),
        (
            CosmicRays,
            {"cleantype": "median"},
            "cleantype='median' is not one of meanmask, medmask, idw.",
        ),
        (
            CosmicRays,
            {"cleantype": "medmsak"},
            "cleantype='medmsak' is not one of meanmask, medmask, idw (did you mean 'medmask'?).",
        ),
    ],
)
def test_refuses_a_step_that_cannot_be_right(make, values, sentence):
    assert refusal_of(make, **values) == sentence


@pytest.mark.parametrize(
    ("combine", "frame_type", "wanted"),
    [
        (Combine(), "bias", Combine()),
        (Combine(method="median"), "flat", Combine(method="median")),
        (Combine(method="median"), "arc", Combine(method="sum", clip=None)),
        ({"bias": Combine(clip=3)}, "bias", Combine(clip=3)),
        ({"bias": Combine(clip=3)}, "dark", Combine()),
        ({"bias": Combine(clip=3)}, "arc", Combine(method="sum", clip=None)),
        ({"arc": Combine(method="median")}, "arc", Combine(method="median")),
    ],
)
def test_how_each_type_is_combined(combine, frame_type, wanted):
    assert Recipe(combine=combine).combine_for(frame_type) == wanted
