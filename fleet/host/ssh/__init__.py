"""How does a script reach a node over SSH? Fabric finds the way and logs in; channels are read here.

Importing this package costs 0.2 s: import it only where a connection is made.
"""

from fleet.host.ssh.transport import SshTransport

__all__ = ["SshTransport"]
