"""The list of components of a multiscale, multi-term CLEAN is its model image: what the one leaves of the data, the other leaves."""

import numpy as np
import pytest
from astropy.table import QTable

import oracles
from factories import ARCSEC, CENTRE, Spw, make_ms, offset, read
from uvstack.deconvolution.scales import scale_kernel
from uvstack.errors import ComponentError
from uvstack.imaging.task import image
from uvstack.io.catalogues import read_catalogue, read_components
from uvstack.sky.components import components, components_from_table, concatenate
from uvstack.subtraction.model_files import read_sky_model
from uvstack.subtraction.task import subtract
from uvstack.uv.predict import predict

CELL = 2.5 * ARCSEC


@pytest.mark.parametrize("scale", [2.5, 3.0, 7.0, 12.4, 16.0, 17.0, 40.0])
def test_a_scale_is_the_sum_over_the_pixels_of_its_kernel(scale):
    """At four pixels a beam; smooth scales, above 16 pixels, are within 3e-5 of that sum."""
    rng = np.random.default_rng(4)
    uvw = rng.uniform(-0.25, 0.25, (50, 3)) / CELL * [1, 1, 0.2] * oracles.LIGHT / 1.4e9
    place = offset(5 * CELL, -3 * CELL)
    one = components(*place, 2.0, shape="clean-scale", fwhm_major=scale * CELL, cell=CELL)
    antennas = np.arange(50), np.arange(50) + 50, np.zeros(50)
    found = predict(uvw, *antennas, np.array([1.4e9]), one, *CENTRE)[:, 0]
    kernel = scale_kernel(scale)
    steps = (np.arange(kernel.shape[0]) - kernel.shape[0] // 2) * CELL
    l0, m0, _ = oracles.cosines(*place, *CENTRE)
    l, m = l0 + steps[None, :], m0 + steps[:, None]
    n_minus_1 = np.sqrt(1 - l * l - m * m) - 1
    path = uvw[:, 0, None, None] * l + uvw[:, 1, None, None] * m + uvw[:, 2, None, None] * n_minus_1
    wanted = 2.0 * (kernel * np.exp(2j * np.pi * 1.4e9 / oracles.LIGHT * path)).sum(axis=(1, 2))
    # Of a flux of 2 Jy; the slope of w (n − 1) across the kernel is straight here, and curved in
    # the sum.
    assert np.abs(found - wanted).max() < (1e-4 if scale <= 16 else 2e-4)


def test_components_leave_what_the_model_image_leaves(tmp_path):
    """Extended emission with a spectrum, two terms, scales of 0, 3 and 8 pixels."""
    rng = np.random.default_rng(3)
    blob = [(*offset(25 * ARCSEC + x, 13 * ARCSEC + y), 0.01)
            for x, y in rng.normal(size=(100, 2)) * 6 * ARCSEC]
    path = make_ms(tmp_path / "a.ms", sources=[*blob, (*offset(-38 * ARCSEC, 17 * ARCSEC), 0.5)],
                   n_ant=12, n_times=3, spws=(Spw(1.2e9, 200e6, 4),), noise=0.01)
    made = image(path, size=64, cell=CELL, scales=(0, 3, 8), terms=2, iterations=150,
                 weighting="natural", out=tmp_path / "clean")
    table = QTable.read(made.files["components"], format="ascii.ecsv")
    assert set(np.round(table["scale"].to_value("arcsec") / 2.5).astype(int)) >= {3, 8}
    subtract(path, made.files["components"], into="BY_LIST")
    subtract(path, made.files["model"], model_tt1=made.files["model-tt1"], into="BY_IMAGE")
    by_list, by_image, data = (read(path, name) for name in ("BY_LIST", "BY_IMAGE", "DATA"))
    flux = np.abs(table["flux"].to_value("Jy")).sum()
    assert np.abs(by_image - data).max() > 0.3 * flux
    assert np.abs(by_list - by_image).max() < 1e-4 * flux
    # As points they are not the model.
    subtract(path, _points(table, tmp_path / "points.ecsv"), into="BY_POINTS")
    assert np.abs(read(path, "BY_POINTS") - by_image).max() > 0.01 * flux


def _points(table, path):
    table = table.copy()
    table["scale"] *= 0
    table.write(path, format="ascii.ecsv")
    return path


def test_scales_and_terms_go_through_tables(tmp_path):
    one = components([1.0, 1.1], [0.2, 0.3], [1.0, 2.0], shape=["clean-scale", "point"],
                     fwhm_major=[9 * ARCSEC, 0.0], cell=CELL, taylor=[[0.5, -3.0], [-1.0, 4.0]],
                     reference_frequency=1.4e9)
    one.to_table().write(tmp_path / "a.ecsv", format="ascii.ecsv")
    again = read_components(tmp_path / "a.ecsv")
    x = np.array([-0.2, 0.0, 0.3])
    for sky in (one, again, concatenate([one.subset([0]), again.subset([1])]),
                one.subset([1, 0]).subset([1, 0])):
        assert list(sky.shape) == ["clean-scale", "point"]
        assert sky.cell == pytest.approx(CELL, rel=1e-12)
        assert sky.to_table().meta["cell_rad"] == sky.cell
        assert sky.fwhm_major == pytest.approx([9 * ARCSEC, 0.0], rel=1e-12)
        assert sky.flux_at(1.4e9 * (1 + x)) == pytest.approx(np.stack(
                                                                 [1 + 0.5 * x - 3 * x**2,
                                                                  2 - x + 4 * x**2]), rel=1e-12)
    assert one.scaled([2.0, 0.0]).flux_at(1.54e9 * np.ones(1)) == pytest.approx(
        2 * (1 + 0.05 - 0.03) * np.array([[1.0], [0.0]]))


def test_what_cannot_be_meant(tmp_path):
    with pytest.raises(ComponentError, match="which is round"):
        components(1.0, 0.2, 1.0, shape="clean-scale", fwhm_major=2e-5, fwhm_minor=1e-5)
    one = components(1.0, 0.2, 1.0, taylor=[[0.5]], reference_frequency=1.4e9)
    with pytest.raises(ComponentError, match="stay at their reference frequency, 1.4 GHz"):
        one.at_reference(2e9)
    table = one.to_table()
    table.rename_column("flux_1", "flux_2")
    with pytest.raises(ComponentError, match="without a gap"):
        components_from_table(table)
    path = make_ms(tmp_path / "b.ms", n_ant=3, n_times=1)
    bare = components(*CENTRE, 1.0, shape="clean-scale", fwhm_major=2e-5).to_table()
    bare.write(tmp_path / "bare.ecsv", format="ascii.ecsv")
    assert "cell_rad" not in read_catalogue(tmp_path / "bare.ecsv").meta
    with pytest.raises(ComponentError, match=r"does not say the pixels .*cell_rad"):
        subtract(path, tmp_path / "bare.ecsv")


@pytest.mark.parametrize(("name", "meant"),
                         [("size", "fwhm_major"), ("Maj", "fwhm_major"),
                          ("alpha", "spectral_index")])
def test_a_size_or_spectrum_by_another_name_is_not_lost(tmp_path, name, meant):
    path = tmp_path / "list.csv"
    path.write_text(f"ra,dec,flux,{name}\n10,20,1,0\n10,21,1,7.9\n")
    with pytest.raises(ComponentError, match=f"{name}.*is not known; call it '{meant}'"):
        read_sky_model(path)
    path.write_text(f"ra,dec,flux,{name}\n10,20,1,0\n10,21,1,0\n")
    assert read_sky_model(path).components.flux.sum() == 2.0
