"""Peeling: bright sources are taken off through gains of their own.

A source far from the middle of the beam is seen through another part of each antenna's beam, of the
troposphere and of the pointing than the field around it, and its sidelobes stay where only gains of
the whole field were solved for. QuartiCal solves for gains of the field (G, K) and of each bright
direction (dE) together (Parekh 2024, VLASS memo 23, equation 1):

    V_pq = G_p K_p (X_pq,0 + Σ_d dE_p,d X_pq,d dE_q,d^H) K_q^H G_q^H

with models X of the field (0) and of the bright directions d, each as the antennas see it. This
package says which directions there are, checks them on an image, says what is to be done, makes the
recipes of QuartiCal and runs it. Angles are in rad, J2000.
"""

from __future__ import annotations

from peel.plan_files import plan
from peel.quartical import Quartical, find_quartical
from peel.result import PeelPlan, PeelResult
from peel.task import peel

__all__ = ["PeelPlan", "PeelResult", "Quartical", "find_quartical", "peel", "plan"]
