"""The equations of the papers: arrays in, arrays out.

Nothing here sees a config or a file.  Read `advantages` first, the half of the
loss that the host computes; then `losses`, the half of the devices.
"""
