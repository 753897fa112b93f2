"""Several tasks with one backbone. Importing this registers balancing methods and architectures."""

from headstart.multitask import architectures, balancing
from headstart.multitask.architectures import make_architecture, read_architecture
from headstart.multitask.balancing import Balancer, Seen, make_balancer
from headstart.multitask.update import Balanced

__all__ = [
    "Balanced",
    "Balancer",
    "Seen",
    "architectures",
    "balancing",
    "make_architecture",
    "make_balancer",
    "read_architecture",
]
