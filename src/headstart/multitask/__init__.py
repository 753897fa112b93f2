"""Several tasks with one backbone. Importing this registers the balancing methods."""

from headstart.multitask import balancing
from headstart.multitask.balancing import Balancer, Seen, make_balancer
from headstart.multitask.update import Balanced

__all__ = ["Balanced", "Balancer", "Seen", "balancing", "make_balancer"]
