"""Positions in any usual notation, and lists whose bad lines are told one by one."""

import pytest

from uvstack.epochs.server.position_text import is_name, read_list, read_position
from uvstack.errors import CoordinateError

RA, DEC = 40.53375, -1.4765555556


@pytest.mark.parametrize("text", [
    "40.53375 -1.4765555556", "40.53375, -1.4765555556", "02:42:08.1 -01:28:35.6", "02 42 08.1 -01 28 35.6",
    "2h42m8.1s, -1d28m35.6s", "2h 42m 8.1s -1d 28m 35.6s", "2h42m8.1s −1°28′35.6″", "J024208.1-012835.6",
    "RA=40.53375 Dec=-1.4765555556", "40.53375deg -1.4765555556deg", "ICRS 02:42:08.1 -01:28:35.6",
    "400.53375 -1.4765555556", "-319.46625 -1.4765555556"])
def test_notations_of_one_place(text):
    assert read_position(text) == pytest.approx((RA, DEC), abs=1e-8)
    assert not is_name(text)


def test_frames_are_converted():
    # The pair of the VLA calibrator manual for 3C 286, B1950 and J2000.
    found = read_position("B1950 13h28m49.657s 30d45m58.64s")
    wanted = read_position("13h31m08.287s 30d30m32.96s")
    assert found == pytest.approx(wanted, abs=0.03 / 3600)
    assert read_position("GALACTIC 0 90") == pytest.approx((192.8595, 27.1283), abs=1e-3)


@pytest.mark.parametrize("text", ["", "10", "10 95", "1 2 3", "nan 3", "1e400 2", "10:61:00 +10:00:00", "x y", "800 3"])
def test_what_is_no_position_is_one_line(text):
    with pytest.raises(CoordinateError) as caught:
        read_position(text)
    assert "\n" not in str(caught.value)


def test_names_are_told_from_positions():
    for name in ("3C 273", "NGC 1068", "M87", "Sgr A*", "PKS 0745-19", "4C 39.25"):
        assert is_name(name)


def test_lists_with_and_without_a_head():
    csv = "# comment\nname,ra,dec,flux\na,10.5,20.5,1\n\"b, c\",10:00:00,+20:00:00,2\n"
    plain = "a 10.5 20.5\n\n10:00:00 +20:00:00 b\n10.5\t20.5\n10 00 00 +20 00 00\n"
    assert [(one.number, one.name, round(one.ra, 9), one.dec) for one in read_list(csv)] == [
        (3, "a", 10.5, 20.5), (4, "b, c", 150.0, 20.0)]
    assert [(one.number, one.name, round(one.ra, 9), one.dec) for one in read_list(plain)] == [
        (1, "a", 10.5, 20.5), (3, "b", 150.0, 20.0), (4, "", 10.5, 20.5), (5, "", 150.0, 20.0)]


def test_each_bad_line_is_told_and_the_others_are_read():
    found = read_list("ra;dec\n10;20\nx;20\n10\n10;95\n11;21\n")
    assert [bool(one.error) for one in found] == [False, True, True, True, False]
    assert "fields" in found[2].error
    assert "declination" in found[3].error
    # Which of three numbers are meant is not guessed.
    (line,) = read_list("10 20 5.5\n")
    assert "ambiguous" in line.error
    assert read_list("") == []
    assert len(read_list("10 20\n" * 5000)) == 5000
