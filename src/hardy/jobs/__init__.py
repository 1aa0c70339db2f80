"""Jobs: training and measuring many runs on this machine, each once, whatever is killed in between."""

from hardy.jobs.diagnose import Diagnose
from hardy.jobs.job import Evaluate, Job, Place, Train
from hardy.jobs.queue import Failure, run_jobs, state_of

__all__ = ["Diagnose", "Evaluate", "Failure", "Job", "Place", "Train", "run_jobs", "state_of"]
