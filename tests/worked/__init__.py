"""Worked jobs, whose rule files are in `rules`."""

from worked import convolutions, experts, language, lora, mobileone, ranks, training, vision
from worked.job import Job

SUBJECTS = (convolutions, experts, language, lora, mobileone, ranks, training, vision)
JOBS: tuple[Job, ...] = tuple(job for subject in SUBJECTS for job in subject.jobs())
