"""Tasks: pairs of prompts that differ in one place and have different answers."""

from lensdepth.tasks.load import list_tasks, list_templates, load_task
from lensdepth.tasks.task import Task, build_task

__all__ = ["Task", "build_task", "list_tasks", "list_templates", "load_task"]
