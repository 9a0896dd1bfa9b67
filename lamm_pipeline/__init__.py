"""From stereo recordings to annotated, validated training datasets."""

import gc

# By default Python looks for garbage in cycles after every 700 new objects. Here rows come by the hundred thousand, hold no cycles, and
# live beside the half million objects of the libraries, so that looking took a fifth of the time of many stages.
gc.set_threshold(50_000, 20, 20)
