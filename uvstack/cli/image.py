"""`uvstack image`."""

from __future__ import annotations

import click

from uvstack.cli.main import (
    Angle,
    Direction,
    Frequency,
    Quantity,
    Size,
    example,
    progress_bar,
    show,
)
from uvstack.cli.options import (
    FILE,
    beam_option,
    data_options,
    given,
    group_of,
    report_options,
    run_options,
    uv_range_options,
)


class ScalesOption(Quantity):
    """Sizes in pixels, or auto."""

    def __init__(self) -> None:
        super().__init__("", "0,4,12", several=True)

    def convert(self, value, param, ctx):
        """Numbers, or the word."""
        return value if value == "auto" else super().convert(value, param, ctx)


#: How visibilities are weighed.
weighting_options = group_of(
    click.option("--weighting", type=click.Choice(["natural", "uniform", "briggs"]), default="briggs",
                  help="Of the visibilities."),
    click.option("--robust", type=float,
                  help="Of Briggs, from -2 (uniform) to 2 (natural); default 0."),
    click.option("--taper", "--uvtaper", "uvtaper", type=Angle(),
                  help="FWHM of a Gaussian on the sky that the weights are tapered for."))

#: Options of all images that are made of visibilities: `ImagingOptions`.
imaging_options = group_of(
    click.option("--out", required=True, type=FILE,
                  help="Begin of the products' names: OUT-image.fits, OUT.json …"),
    click.option("--size", "--imsize", required=True, type=Size(),
                  help="Pixels: 1024, or columns,rows."),
    click.option("--cell", "--scale", required=True, type=Angle(), help="Pixel, e.g. 0.5arcsec."),
    weighting_options,
    click.option("--deconvolver", type=click.Choice(["hogbom", "clark", "multiscale", "mtmfs"]),
                  help="Default: mtmfs with --terms, multiscale with --scales, else clark."),
    click.option("--iterations", "--niter", default=100_000,
                  help="Components at most; 0 makes the dirty image alone."),
    click.option("--threshold", type=Quantity("Jy", "50uJy"),
                  help="Peak at which to stop, e.g. 50uJy."),
    click.option("--threshold-sigma", type=float,
                  help="The same in units of the noise; 4 where there is no --threshold."),
    click.option("--cycle-iterations", "--cycleniter", type=int,
                  help="Components in one major cycle at most; default no limit."),
    click.option("--flux-change", default=0.0,
                  help="Stop where a cycle changes the model's flux by less than this part."),
    click.option("--cycle-factor", default=1.0,
                  help="Smaller: deeper minor cycles, and fewer major ones."),
    click.option("--most-cycles", default=20, help="Major cycles at most."),
    click.option("--terms", "--nterms", default=1,
                  help="Taylor terms of the spectrum; from 2 a map of the spectral index is made."),
    click.option("--scales", type=ScalesOption(),
                  help="Sizes of components in pixels, 0 is a point: 0,4,12; sdint alone can choose them: auto."),
    click.option("--mask", type=FILE,
                  help="Where components may be: FITS image on the same grid, not 0 there, a catalogue of sources, or regions "
                       "of DS9 (.reg) or CASA (.crtf)."),
    click.option("--auto-mask", is_flag=True, help="Find a mask in every cycle, within --mask."),
    data_options,
    uv_range_options,
    click.option("--phase-centre", type=Direction(),
                  help="Middle of the image: 'J2000 10h00m00s -30d00m00s'; default that of the field, or of all fields."),
    beam_option("For corrected images, and mosaics of several pointings"),
    click.option("--pb-cutoff", default=0.2,
                  help="Corrected images are blank, and mosaics without components, where the "
                       "primary beam is below this."),
    click.option("--reference-frequency", type=Frequency(),
                  help="Of Taylor terms; default the mean of the channels by weight."),
)


@click.command(name="image",
               epilog=example("uvstack image survey.ms --size 4000 --cell 0.5arcsec --auto-mask "
                              "--out survey"))
@click.argument("ms", nargs=-1, required=True)
@imaging_options
@click.option("--stokes", default="I",
              help="I, Q, U, V, RR, LL, XX, YY, or several: IQUV, IV, \"RR,LL\".")
@click.option("--channels-out", default=1,
              help="Planes of a cube, equal steps of frequency over all channels selected.")
@click.option("--gain", default=0.1, help="Part of a peak that one iteration takes.")
@click.option("--imager", type=click.Choice(["uvstack", "wsclean", "casa"]), default="uvstack",
              help="wsclean or casa where installed: they make one plane of one pointing, with products as ours.")
@report_options("JSON, pictures and a page", "out")
@run_options
def command(ms, report, **options) -> None:
    """Image the visibilities of MS... and deconvolve.

    Writes the dirty image, psf, model (Jy/pixel), residual and restored image, corrected for the
    primary beam where one is given, with a list of components, a record of the run and a report. Of
    several Stokes parameters or --channels-out these are cubes with a beam for each plane.
    """
    import uvstack

    with progress_bar("imaging") as progress:
        result = uvstack.image(list(ms), report=report, progress=progress, **given(options))
    show(result, report)
    click.echo(f"{'products':<12} {result.files['image']} and {len(result.files) - 1} more, "
               f"listed in {result.files['json']}")
