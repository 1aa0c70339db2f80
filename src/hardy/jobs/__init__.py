"""Jobs: training and measuring many runs here or on a cluster, each once, whatever is killed in between."""

from hardy.jobs.beside import state_of
from hardy.jobs.diagnose import Diagnose
from hardy.jobs.job import Evaluate, Job, Place, Train
from hardy.jobs.queue import Failure, run_jobs
from hardy.jobs.runner import Here
from hardy.jobs.study import Analyse
from hardy.jobs.timing import Time

__all__ = [
    "Analyse",
    "Diagnose",
    "Evaluate",
    "Failure",
    "Here",
    "Job",
    "Place",
    "Time",
    "Train",
    "run_jobs",
    "state_of",
]
