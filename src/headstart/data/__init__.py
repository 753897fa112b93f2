"""What we learn from: loading, schema, splits, duplicates, augmentation, samples."""

from headstart.data.dataset import Dataset
from headstart.data.load import LoadOptions, is_table, load_data, load_inputs
from headstart.data.samples import list_samples
from headstart.data.schema import Sample, Schema, Task
from headstart.data.split import SplitOptions, Splits, make_splits

__all__ = [
    "Dataset",
    "LoadOptions",
    "Sample",
    "Schema",
    "SplitOptions",
    "Splits",
    "Task",
    "is_table",
    "list_samples",
    "load_data",
    "load_inputs",
    "make_splits",
]
