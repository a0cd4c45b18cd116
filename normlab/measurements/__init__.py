"""What the claims of the studies measure without training: one file a study, named as the study is.

``grep -l A14 experiments/*/study.yaml`` names the study of claim A14, and the file of that name here has its code. What
several studies share has a file named for what it measures. Each function that a study calls is registered by
:func:`measurement` and is called by its name.
"""

from normlab.measurements.registry import measurement, measurement_by_name, measurements

__all__ = ["measurement", "measurement_by_name", "measurements"]
