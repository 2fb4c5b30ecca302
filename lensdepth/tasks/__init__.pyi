# Sorted by hand: ruff would write an import for every name.
# ruff: isort: skip_file

from .build import build_task as build_task
from .keeping import (
    answered_preferably as answered_preferably,
    answered_rightly as answered_rightly,
)
from .load import list_forms as list_forms, list_tasks as list_tasks
from .load import list_templates as list_templates, load_task as load_task
from .pair import pair_task as pair_task
from .rows import Pair as Pair
from .task import Task as Task
