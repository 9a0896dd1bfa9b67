"""Makes the back end that the settings name."""

from lamm_pipeline.errors import InputError
from lamm_pipeline.tracking.masklets.flow_propagator import FlowPropagator
from lamm_pipeline.tracking.masklets.propagation import Propagator
from lamm_pipeline.tracking.masklets.settings import MaskletBackend, MaskletSettings


def make_propagator(settings: MaskletSettings) -> Propagator:
    """Make the back end `settings.backend`.

    Raises:
        InputError: it cannot be had.
    """
    if settings.backend is not MaskletBackend.flow:
        raise InputError(f"The back end {settings.backend} of masklets is not here; set `backend` to flow.")
    return FlowPropagator()
