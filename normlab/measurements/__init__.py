"""The measurements of claims that need no training: one file for each study, with the name of the study.

``grep -l ID experiments/*/study.yaml`` prints the study of the claim ID; the file of the same name here has its code.
Code that several studies share is in a file named after what it measures. The decorator :func:`measurement` registers
each function that a study calls, under the function's name.
"""

from normlab.measurements.registry import measurement, measurement_by_name, measurements

__all__ = ["measurement", "measurement_by_name", "measurements"]
