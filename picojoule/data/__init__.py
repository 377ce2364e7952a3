"""Images by name, held in memory, with one fixed split into training, validation and test."""

from picojoule.data.augment import cut_out_after, flip_and_crop
from picojoule.data.images import Images, Normalisation
from picojoule.data.loader import Loader
from picojoule.data.registry import data_folders, data_names, data_root, load_data, register_data
from picojoule.data.splits import DataSplits, hold_out

__all__ = [
    "DataSplits",
    "Images",
    "Loader",
    "Normalisation",
    "cut_out_after",
    "data_folders",
    "data_names",
    "data_root",
    "flip_and_crop",
    "hold_out",
    "load_data",
    "register_data",
]
