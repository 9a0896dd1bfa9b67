"""Makes the back end that the settings name."""

from lamm_pipeline.tracking.masklets.flow_propagator import FlowPropagator
from lamm_pipeline.tracking.masklets.propagation import Propagator
from lamm_pipeline.tracking.masklets.sam2_propagator import Sam2Propagator
from lamm_pipeline.tracking.masklets.settings import MaskletBackend, MaskletSettings


def make_propagator(settings: MaskletSettings) -> Propagator:
    """Make the back end `settings.backend`.

    Raises:
        InputError: a package, the weights or the device that it needs is missing.
    """
    if settings.backend is MaskletBackend.sam2:
        return Sam2Propagator(settings.variant, settings.weights)
    return FlowPropagator()
