"""The simulated commands of the lab's node. Standard library only: these modules run inside the sandbox."""
