"""Masklets: identity over time from the propagation of masks."""
