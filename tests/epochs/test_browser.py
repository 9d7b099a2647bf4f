"""The pages in a real browser: search, cutout, combination, download, list, error; where there is none these say so."""

import contextlib
import io
import shutil
import threading
import urllib.request
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from survey_archive import SOURCES, make_archive
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.limits import Limits
from uvstack.epochs.server.pages import has_viewer
from uvstack.epochs.server.service import Service
from uvstack.epochs.server.task import make_application
from uvstack.errors import NameLookupError

#: What lets chromium run in small containers; nothing is loaded from anywhere but the server.
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1200",
           "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server")


def resolve(name):
    if name == "source A":
        return SOURCES[0][:2]
    raise NameLookupError(f"the name {name!r} could not be looked up: SIMBAD and NED cannot be reached from this "
                          "server; give RA and Dec instead", 503)


@contextlib.contextmanager
def running(archive, limits):
    """Address of a server in this process."""
    waitress = pytest.importorskip("waitress")
    with Service(archive, limits, resolve) as service:
        server = waitress.create_server(make_application(service), host="127.0.0.1", port=0, threads=8)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.effective_port}"
        finally:
            server.close()
            server.task_dispatcher.shutdown()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    archive = open_archive(make_archive(tmp_path_factory.mktemp("archive")))
    with running(archive, Limits(upload=20_000)) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip(f"browser: no {'chromium' if chromium is None else 'chromedriver'} (on Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_page_load_timeout(60)
    yield found
    found.quit()


@pytest.fixture(autouse=True)
def _nothing_is_said_at_the_console(browser):
    """Errors of scripts and what the policy of the page refused."""
    browser.get_log("browser")
    yield
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    # A status that is not 200 is told there, too.
    assert not [text for text in said if "Failed to load resource" not in text], said


def at(browser, name):
    return browser.find_element("id", name)


def until(browser, condition, seconds=60):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda _: condition())


def search(browser, address, position, **fields):
    """Fill the form as a user does and send it."""
    browser.get(address)
    at(browser, "position").send_keys(position)
    for name, text in fields.items():
        field = browser.find_element("css selector", f"#search [name={name}]")
        if field.tag_name == "select":
            browser.find_element("css selector", f"#search [name={name}] option[value={text}]").click()
        else:
            field.clear()
            field.send_keys(text)
    browser.find_element("css selector", "#search button").click()


def ready(browser):
    return at(browser, "job").get_attribute("data-viewer" if has_viewer() else "data-ready") is not None


def fetched(browser, selector):
    """What a link leads to."""
    link = browser.find_element("css selector", selector).get_attribute("href")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link, timeout=60) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def shown(browser, address):
    """Address of the page of a position, once its images are there."""
    search(browser, address, "00:00:00.12 +12:00:03.6", size="60", unit="arcsec")
    until(browser, lambda: ready(browser))
    return browser.current_url


def test_a_search_shows_every_epoch_and_the_combination(browser, shown):
    browser.get(shown)
    until(browser, lambda: ready(browser))
    rows = [row.text for row in browser.find_elements("css selector", "#table tbody tr")]
    assert [row.split()[0] for row in rows] == ["VLASS1", "VLASS2", "VLASS3", "weighted", "weighted"]
    assert "3.60″ × 2.60″, 20.0°" in rows[0]
    assert "mJy" in rows[0]
    assert len(browser.find_elements("css selector", ".panel")) == 5
    assert not at(browser, "problem").is_displayed()


def test_downloads_are_what_is_shown(browser, shown):
    browser.get(shown)
    until(browser, lambda: ready(browser))
    with fits.open(io.BytesIO(fetched(browser, "#table tbody tr:first-child a[href$='.fits']"))) as hdus:
        assert hdus[0].header["EPOCHNAM"] == "VLASS1"
        assert np.nanmax(hdus[0].data) == pytest.approx(SOURCES[0][2], rel=0.1)
    assert fetched(browser, "#table tbody tr:last-child a[href$='.png']")[:4] == b"\x89PNG"
    with zipfile.ZipFile(io.BytesIO(fetched(browser, "#downloads a"))) as files:
        assert {"ql-VLASS1.fits", "ql-mean.fits", "ql-median.fits", "summary.json"} <= set(files.namelist())


@pytest.mark.skipif(not has_viewer(), reason="viewer: not fetched from npm (make viewer)")
def test_images_share_view_colours_contours_and_cursor(browser, shown):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.get(shown)
    until(browser, lambda: ready(browser))
    maps = browser.find_elements("css selector", ".map")

    def pixels():
        """What each image shows, as numbers of its canvas."""
        return browser.execute_script(
            "return [...document.querySelectorAll('.map canvas')].map((c) => "
            "Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).reduce((a, b) => a + b, 0))")

    before = pixels()
    assert all(value > 0 for value in before)
    zoom = browser.execute_script("return cutoutView.getZoom()")
    browser.find_element("css selector", ".map .ol-zoom-in").click()
    until(browser, lambda: browser.execute_script("return cutoutView.getZoom()") > zoom + 0.5)
    assert len(maps) == 5
    until(browser, lambda: all(a != b for a, b in zip(before, pixels(), strict=True)))
    # Colours of all change together.
    before = pixels()
    browser.find_element("css selector", "#colours option:nth-child(3)").click()
    until(browser, lambda: all(a != b for a, b in zip(before, pixels(), strict=True)))
    assert "colours=gray" in at(browser, "permalink").get_attribute("href")
    # The value under the cursor is told of every image.
    ActionChains(browser).move_to_element(maps[0]).perform()
    until(browser, lambda: all(one.text for one in browser.find_elements("css selector", ".map .value")))
    values = [one.text for one in browser.find_elements("css selector", ".map .value")]
    assert all("mJy/beam" in value for value in values)
    assert at(browser, "readout").text.startswith("00h00m00.")
    browser.find_element("css selector", "#contours option[value=own]").click()
    until(browser, lambda: at(browser, "job").get_attribute("data-contours") == "own")
    # The address of the view brings it back.
    link, centre = at(browser, "permalink").get_attribute("href"), browser.execute_script("return cutoutView.getZoom()")
    browser.get("about:blank")
    browser.get(link)
    until(browser, lambda: ready(browser))
    assert at(browser, "colours").get_attribute("value") == "gray"
    assert at(browser, "contours").get_attribute("value") == "own"
    assert browser.execute_script("return cutoutView.getZoom()") == pytest.approx(centre, abs=0.02)


@pytest.mark.skipif(not has_viewer(), reason="viewer: not fetched from npm (make viewer)")
def test_the_pages_sky_is_that_of_astropy(browser, shown):
    from astropy.wcs import WCS

    browser.get(shown)
    until(browser, lambda: ready(browser))
    wcs = WCS(naxis=2)
    for projection in ("SIN", "TAN"):
        wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
        wcs.wcs.crval, wcs.wcs.crpix = [359.9, 62.0], [120.5, 80.0]
        wcs.wcs.cd = np.array([[-2.0, 0.3], [0.2, 2.0]]) / 60
        words = {"projection": projection, "crval": list(wcs.wcs.crval), "crpix": list(wcs.wcs.crpix),
                 "cd": wcs.wcs.cd.tolist()}
        ra, dec = (float(one) for one in wcs.wcs_pix2world(10.0, 150.0, 0))
        found = browser.execute_script("const s = new Sky(arguments[0]); return [s.toSky(10, 150), "
                                       "s.toPixel(arguments[1], arguments[2])]", words, ra, dec)
        np.testing.assert_allclose(found[0], [ra, dec], atol=1e-9)
        np.testing.assert_allclose(found[1], [10.0, 150.0], atol=1e-7)
        # North through east, turned into the screen's sense: towards the pixel of a place a little north-east.
        ra2, dec2 = (float(one) for one in wcs.wcs_pix2world(120.5 - 1 + 0.0, 80.0 - 1 + 0.0, 0))
        east, north = np.sin(np.radians(30)), np.cos(np.radians(30))
        x, y = wcs.wcs_world2pix(ra2 + 1e-4 * east / np.cos(np.radians(dec2)), dec2 + 1e-4 * north, 0)
        angle = browser.execute_script("return new Sky(arguments[0]).screenAngle(30)", words)
        assert np.degrees(np.arctan2(-(float(y) - 79.0), float(x) - 119.5)) == pytest.approx(angle, abs=0.01)


def test_a_name_is_looked_up_and_an_error_keeps_what_was_typed(browser, address):
    search(browser, address, "source A", size="40", unit="pixel", combine="no")
    until(browser, lambda: ready(browser))
    assert len(browser.find_elements("css selector", ".panel")) == 3
    search(browser, address, "3C 273")
    assert "SIMBAD and NED cannot be reached" in at(browser, "problem").text
    assert at(browser, "position").get_attribute("value") == "3C 273"


def test_what_is_outside_the_archive_is_told_on_the_page(browser, address):
    search(browser, address, "100 -20")
    until(browser, lambda: at(browser, "problem").is_displayed())
    assert "no Quick Look image" in at(browser, "problem").text


def test_a_list_is_shown_line_by_line(browser, address, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text(f"name,ra,dec\nA,{SOURCES[0][0]},{SOURCES[0][1]}\nbad,x,y\nfar,100,-20\n")
    browser.get(address)
    at(browser, "file").send_keys(str(path))
    browser.find_element("css selector", "#batch button").click()
    until(browser, lambda: at(browser, "job").get_attribute("data-ready") == "yes")
    assert "VLASS1, VLASS2, VLASS3" in at(browser, "line-2").text
    assert "cannot be read as a position" in at(browser, "line-3").text
    assert "no Quick Look image" in at(browser, "line-4").text
    assert at(browser, "count").text == "2 of the lines cannot be used"
    with zipfile.ZipFile(io.BytesIO(fetched(browser, "#downloads a"))) as files:
        assert "00002-A/ql-VLASS3.fits" in files.namelist()
    browser.find_element("css selector", "#line-2 a").click()
    until(browser, lambda: ready(browser))


def test_a_list_that_is_too_large_is_told(browser, address, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("10.0 20.0\n" * 4000)
    browser.get(address)
    at(browser, "file").send_keys(str(path))
    browser.find_element("css selector", "#batch button").click()
    until(browser, lambda: browser.find_elements("id", "problem"))
    assert "larger than 0.02 MB" in at(browser, "problem").text
