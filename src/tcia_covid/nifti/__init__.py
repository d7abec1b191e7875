"""NIfTI volumes: checked, taken into a collection's folder, received through Aspera."""

from tcia_covid.nifti.adopt import adopt
from tcia_covid.nifti.result import Standing, VolumeAdoption

__all__ = ["Standing", "VolumeAdoption", "adopt"]
