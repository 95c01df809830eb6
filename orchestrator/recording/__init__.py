"""Recording: what a caller says of a call, a cost or a revenue is stored, or spooled beside the file, once by its id."""

from orchestrator.errors import NotRecorded
from orchestrator.recording.call import calculate_cost, usage_of
from orchestrator.recording.draining import Drained, drain, lines_aside, waiting
from orchestrator.recording.lost import LostMark, lost_marks, nowhere
from orchestrator.recording.recorder import Kind, lose, record, record_all
from orchestrator.recording.results import Recorded
from orchestrator.recording.rules import Rules, configured
from orchestrator.recording.storing import void

__all__ = [
    "Drained",
    "Kind",
    "LostMark",
    "NotRecorded",
    "Recorded",
    "Rules",
    "calculate_cost",
    "configured",
    "drain",
    "lines_aside",
    "lose",
    "lost_marks",
    "nowhere",
    "record",
    "record_all",
    "usage_of",
    "void",
    "waiting",
]
