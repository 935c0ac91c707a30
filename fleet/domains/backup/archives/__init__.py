"""Archives: vzdump of the guests whose policy has them, and what is kept of those that fleet made."""

from fleet.domains.backup.archives.plan import Dump, Pruning, dump, dumped, prune, too_few

__all__ = ["Dump", "Pruning", "dump", "dumped", "prune", "too_few"]
