from fleet.tasks import namespace

__all__ = ["namespace"]
