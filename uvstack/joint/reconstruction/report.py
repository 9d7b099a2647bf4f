"""What a person reads of a joint reconstruction, besides what is read of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from uvstack.joint.dish_beams import beam_rows
from uvstack.report.numbers import with_error
from uvstack.report.page import Section

if TYPE_CHECKING:
    from uvstack.joint.reconstruction.result import JointNumbers

_USED = {"joint": "dish and interferometer", "int": "the interferometer alone",
         "sd": "the dish alone"}


def overview(section: Section, joint: JointNumbers | None) -> Section:
    """A section on an image, with how both instruments were joined."""
    if joint is None:
        return section
    n = len(joint.frequency)
    rows: list[tuple[str, ...]] = [
        ("used", _USED[joint.use], f"{n} channel{'s' if n > 1 else ''}, {joint.frequency[0] / 1e9:.4g} "
                                   f"to {joint.frequency[-1] / 1e9:.4g} GHz")]
    if joint.dish_beams:
        rows += [*beam_rows(joint.dish_beams, joint.weight_beams, joint.dish_beam_from,
                            joint.weight_beam_from),
                 ("dish's scale", f"{joint.sd_scale:.4g}" if joint.sd_scale_error is None
                  else with_error(joint.sd_scale, joint.sd_scale_error, 1.0),
                  "given" if joint.sd_scale_error is None else "from the overlap")]
    if joint.use == "joint":
        rows += [("dish's weight", f"{joint.sd_gain:g}", "against the interferometer" + (
            "" if np.ptp(joint.gain) == 0 else
            f"; {joint.gain.min():.3g} to {joint.gain.max():.3g} by its noise")),
                 ("width", f"{joint.width:.4g}", "of the joint beam over the interferometer's")]
    rows += [("scales", ", ".join(f"{one:g}" for one in joint.scales), "pixels, of components")]
    return replace(section, rows=[*section.rows, *rows])
