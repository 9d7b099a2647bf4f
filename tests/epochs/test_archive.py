"""Archives: which tile is where, which version counts, and the same directories over HTTP."""

import contextlib
import functools
import threading
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from survey_archive import make_archive, write_tile
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.cutout_files import Region, cutouts
from uvstack.epochs.server.tile_name import newest, tile_of
from uvstack.errors import ArchiveError, UvstackWarning

NAME = "VLASS2.1.{}.T10t12.J073401-033000.{}.2048.v{}.I.iter1.image.pbcor.tt0.subim.fits"


def test_names_of_the_survey():
    tile = tile_of(f"/x/VLASS2.1/T10t12/folder/{NAME.format('ql', '10', 12)}")
    assert (tile.product, tile.epoch, tile.campaign, tile.name) == ("ql", "VLASS2", "VLASS2.1", "T10t12.J073401-033000")
    assert tile.version == (1, 12)
    assert tile.centre == pytest.approx((15 * (7 + 34 / 60 + 1 / 3600), -3.5))
    assert tile_of("/x/VLASS1.1v2/" + NAME.format("se", "06", 1)).version == (2, 1)
    for other in ("tt0.rms.subim", "tt1.subim"):
        assert tile_of(NAME.format("ql", "10", 1).replace("tt0.subim", other)) is None
    assert tile_of(NAME.format("se", "06", 1).replace("image.pbcor.tt0", "alpha")) is None
    assert tile_of("notes.txt") is None
    assert tile_of("mine.fits").product == "image"


def test_the_newest_version_counts_as_a_number():
    paths = [f"a/{NAME.format('ql', '10', v)}" for v in (2, 10, 9)]
    assert [tile.version for tile in newest(map(tile_of, paths))] == [(1, 10)]
    # A campaign that was imaged anew lies in another folder.
    both = [tile_of(f"VLASS2.1/{NAME.format('ql', '10', 3)}"), tile_of(f"VLASS2.1v2/{NAME.format('ql', '10', 1)}")]
    assert [tile.version_text for tile in newest(both)] == ["v2.v1"]
    # Neither epochs nor products are versions of each other.
    assert len(newest(map(tile_of, [NAME.format("ql", "10", 1), NAME.format("se", "06", 1)]))) == 2


def test_a_folder_is_known_by_its_headers(tmp_path):
    make_archive(tmp_path, epochs=(1, 2))
    write_tile(tmp_path, 2, "T11t01", version=2)
    archive = open_archive(tmp_path)
    assert archive.products() == ["ql"]
    assert archive.epochs() == [("ql", "VLASS1"), ("ql", "VLASS2")]
    found = archive.near(0.0, 12.0, 0.001, "ql")
    assert sorted((tile.campaign, tile.name[:6], tile.version_text) for tile in found) == [
        ("VLASS1.1", "T11t01", "v1"), ("VLASS1.1", "T11t36", "v1"),
        ("VLASS2.1", "T11t01", "v2"), ("VLASS2.1", "T11t36", "v1")]
    assert not archive.near(180.0, 12.0, 0.1, "ql")
    assert not archive.near(0.0, 12.0, 0.001, "se")


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning", "ignore::ResourceWarning")
def test_broken_files_are_told_and_the_others_served(tmp_path):
    write_tile(tmp_path, 1, "T11t01")
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =" + b" " * 100)
    (tmp_path / "empty.fits").write_bytes(b"")
    whole = write_tile(tmp_path, 2, "T11t01")
    whole.write_bytes(whole.read_bytes()[:100_000])
    with pytest.warns(UvstackWarning, match=r"3 of 4 files .*broken\.fits.*is cut short"):
        assert len(open_archive(tmp_path).tiles) == 1


def test_no_archive_is_one_line(tmp_path):
    for place in (tmp_path / "none", tmp_path, "http://127.0.0.1:9/vlass"):
        with pytest.raises(ArchiveError) as caught:
            open_archive(place)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["", "path,product,epoch\n"])
def test_a_list_of_files(tmp_path, head):
    first, second = (write_tile(tmp_path / "tiles", epoch, "T11t01") for epoch in (1, 2))
    (tmp_path / "other").mkdir()
    plain = first.rename(tmp_path / "other" / "mine.fits")
    rest = ",se,deep" if head else ""
    lines = [f"{plain.relative_to(tmp_path)}{rest}", f"{second}{',,' if head else ''}"]
    (tmp_path / "list.txt").write_text(head + "\n".join(lines) + "\n")
    tiles = open_archive(tmp_path / "list.txt").tiles
    wanted = {("se", "deep"), ("ql", "VLASS2")} if head else {("image", "2019-02-03"), ("ql", "VLASS2")}
    assert {(tile.product, tile.epoch) for tile in tiles} == wanted


class _Ranges(SimpleHTTPRequestHandler):
    """With ranges of bytes, as large servers have them."""

    sent = 0

    def do_GET(self):
        path, asked = self.translate_path(self.path), self.headers.get("Range")
        if asked is None or not path.endswith(".fits"):
            return super().do_GET()
        with open(path, "rb") as file:
            data = file.read()
        first, last = asked.removeprefix("bytes=").split("-")
        part = data[int(first):int(last) + 1 if last else None]
        type(self).sent += len(part)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def log_message(self, *_):
        pass


class _Whole(SimpleHTTPRequestHandler):
    """Python's own: whole files alone."""

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder, handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


SUMMARY = """  Tile  Dec min  Dec max  RA min  RA max  Epoch  Observation date  Status
-----------------------------------------------------------------------
T11t01    10.00    14.00    0.00    0.60  VLASS1.1  2019-02-03  imaged
T11t36    10.00    14.00   23.40   24.00  VLASS1.1  2019-02-03  imaged
T11t18    10.00    14.00   12.00   12.60  VLASS1.1  2019-02-03  imaged
"""


@pytest.mark.parametrize("handler", [_Ranges, _Whole])
@pytest.mark.parametrize("summary", [True, False])
def test_the_directories_over_http_are_those_of_the_folder(tmp_path, handler, summary):
    root = tmp_path / "vlass"
    make_archive(root / "quicklook", epochs=(1, 2))
    write_tile(root / "quicklook", 2, "T11t01", version=2, gain=1.2)
    write_tile(root / "quicklook", 1, "T11t18", centre=(180.5, 12.0))
    write_tile(root / "se_continuum_imaging", 3, "T11t01", product="se")
    if summary:
        (root / "VLASS_dyn_summary.php").write_text(SUMMARY)
    region = Region(0.0005, 12.001, 0.01)
    local = cutouts(open_archive(root), region, "ql")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with serving(tmp_path, handler) as address:
            archive = open_archive(f"{address}/vlass")
            assert archive.products() == ["ql", "se"]
            assert archive.epochs() == [("ql", "VLASS1"), ("ql", "VLASS2"), ("se", "VLASS3")]
            remote = cutouts(archive, region, "ql")
            assert not archive.near(90.0, 12.0, 0.1, "ql")
            # The folder of a product is an archive, too.
            assert open_archive(f"{address}/vlass/quicklook/").products() == ["ql"]
    assert [one.versions for one in remote] == [one.versions for one in local] == [("v1",), ("v2", "v1")]
    for one, other in zip(remote, local, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        assert one.files == other.files


def test_a_remote_folder_with_campaigns_of_both_products(tmp_path):
    make_archive(tmp_path / "data", epochs=(1,))
    write_tile(tmp_path / "data", 1, "T11t01", product="se", gain=2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with serving(tmp_path, _Whole) as address:
            archive = open_archive(f"{address}/data")
            assert archive.products() == ["ql", "se"]
            assert {tile.product for tile in archive.near(0.0, 12.0, 0.01, "ql")} == {"ql"}
            (cut,) = cutouts(archive, Region(0.031, 11.99, 0.005), "se")
            assert np.nanmax(cut.data) == pytest.approx(0.06, rel=0.1)
            with pytest.raises(ArchiveError, match="has none of the folders"):
                open_archive(address)


def test_a_remote_archive_that_goes_is_told(tmp_path):
    make_archive(tmp_path / "quicklook", epochs=(1,))
    with serving(tmp_path, _Whole) as address:
        archive = open_archive(address)
    with pytest.raises(ArchiveError, match="cannot be reached"):
        archive.near(0.0, 12.0, 0.01, "ql")
