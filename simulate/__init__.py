"""Simulated data with a known truth: measurement sets, images of epochs, cubes of single dishes."""

from simulate.arrays import list_arrays, read_array
from simulate.epoch_images import EpochImage, Epochs, epoch_image, epochs
from simulate.epoch_settings import each_epoch
from simulate.gain_tracks import read_truth
from simulate.image_model import read_image_model
from simulate.noise import Noise
from simulate.rau import JointSimulation, observe_joint
from simulate.single_dish import SingleDishCube, single_dish_cube, write_single_dish
from simulate.skies import Around, Rectangle, source_counts
from simulate.survey import read_survey
from simulate.task import Simulation, observe, observe_survey, observe_type
from uvstack.io.catalogues import read_components

__all__ = [
    "Around", "EpochImage", "Epochs", "JointSimulation", "Noise", "Rectangle", "Simulation",
    "SingleDishCube", "each_epoch", "epoch_image", "epochs", "list_arrays", "observe",
    "observe_joint", "observe_survey", "observe_type", "read_array", "read_components",
    "read_image_model", "read_survey", "read_truth", "single_dish_cube", "source_counts",
    "write_single_dish"]  # fmt: skip
