"""Simulated measurement sets with a known truth."""

from simulate.task import Simulation, observe

__all__ = ["Simulation", "observe"]
