"""Tasks: pairs of prompts that differ in one place and have different answers."""

from lensdepth.tasks.build import build_task
from lensdepth.tasks.judging import answered_preferably, answered_rightly
from lensdepth.tasks.load import list_forms, list_tasks, list_templates, load_task
from lensdepth.tasks.pair import pair_task
from lensdepth.tasks.rows import Pair
from lensdepth.tasks.task import Task

__all__ = [
    "Pair",
    "Task",
    "answered_preferably",
    "answered_rightly",
    "build_task",
    "list_forms",
    "list_tasks",
    "list_templates",
    "load_task",
    "pair_task",
]
