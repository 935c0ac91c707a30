"""Archives: vzdump of the guests whose policy has them, and what is kept of those that fleet made."""

from fleet.domains.backup.archives.plan import Dump, Pruning, dump, dumped, prune, too_few
from fleet.domains.backup.archives.steps import pin

__all__ = ["Dump", "Pruning", "dump", "dumped", "pin", "prune", "too_few"]
