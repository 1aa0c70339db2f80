"""Jobs: training and measuring many runs on this machine, each once, whatever is killed in between."""

from hardy.jobs.diagnose import Diagnose
from hardy.jobs.job import Evaluate, Job, Place, Train
from hardy.jobs.queue import Failure, run_jobs, state_of
from hardy.jobs.study import Analyse
from hardy.jobs.timing import Time

__all__ = ["Analyse", "Diagnose", "Evaluate", "Failure", "Job", "Place", "Time", "Train", "run_jobs", "state_of"]
