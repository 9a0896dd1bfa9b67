"""When summaries of all recordings are brought up to the present."""

import dagster as dg

WAITS_FOR_NOBODY = (
    dg.AutomationCondition.any_deps_updated().since_last_handled() | dg.AutomationCondition.cron_tick_passed("0 * * * *")
) & ~dg.AutomationCondition.in_progress()
"""On any update of what a summary is made of: a recording that is stuck or missing must not freeze it for the others.

And every hour, to take in what people have said meanwhile.
"""
