"""The tasks of `inv`: see fleet/tasks."""

from fleet.tasks import namespace
