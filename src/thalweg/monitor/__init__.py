"""The readings inside somebody else's training loop, and what they say of it."""

from thalweg.monitor._alignment import Alignment
from thalweg.monitor._along_step import AlongStep
from thalweg.monitor._gradients import Gradients
from thalweg.monitor._instrument import Instrument, Instruments, Watching
from thalweg.monitor._lightning import for_lightning
from thalweg.monitor._logger import JSONL, Logger, MLflow, TensorBoard, WandB
from thalweg.monitor._loss import Loss
from thalweg.monitor._moment import Moment
from thalweg.monitor._monitor import Monitor
from thalweg.monitor._noise import Noise
from thalweg.monitor._record import Alert, Cost, Record
from thalweg.monitor._sets import cheap, full, ordinary, without_products
from thalweg.monitor._sharpness import Sharpness
from thalweg.monitor._spectrum import Spectrum
from thalweg.monitor._transformers import for_transformers
from thalweg.monitor._units import Units
from thalweg.monitor._updates import Updates

__all__ = [
    "JSONL",
    "Alert",
    "Alignment",
    "AlongStep",
    "Cost",
    "Gradients",
    "Instrument",
    "Instruments",
    "Logger",
    "Loss",
    "MLflow",
    "Moment",
    "Monitor",
    "Noise",
    "Record",
    "Sharpness",
    "Spectrum",
    "TensorBoard",
    "Units",
    "Updates",
    "WandB",
    "Watching",
    "cheap",
    "for_lightning",
    "for_transformers",
    "full",
    "ordinary",
    "without_products",
]
