"""Queues: the wait of requests for one of c servers."""

from __future__ import annotations

import math

_EXACT_SERVERS = 2000.0


def erlang_c(num_servers: float, load: float) -> float:
    """Probability that an arrival must wait, in M/M/c at a load (utilisation) in [0, 1).

    From Erlang B by the recursion `B_k = a B_{k-1} / (k + a B_{k-1})`, `a = c rho`, then
    `C = B / (1 - rho (1 - B))`. Beyond 2,000 servers the Halfin-Whitt limit,
    `1 / (1 + beta Phi(beta) / phi(beta))`, `beta = (1 - rho) sqrt(c)`.
    Source: Erlang 1917; Halfin and Whitt 1981, theorem 1.
    """
    if load <= 0.0:
        return 0.0
    if load >= 1.0:
        return 1.0
    if num_servers > _EXACT_SERVERS:
        return _halfin_whitt((1.0 - load) * math.sqrt(num_servers))
    servers = max(1, round(num_servers))
    offered = servers * load
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


def _halfin_whitt(beta: float) -> float:
    density = math.exp(-min(beta * beta / 2.0, 700.0)) / math.sqrt(2.0 * math.pi)
    below = 0.5 * (1.0 + math.erf(beta / math.sqrt(2.0)))
    return density / (density + beta * below)


def mean_wait_s(
    num_servers: float, load: float, service_s: float, arrival_scv: float, service_scv: float
) -> float:
    """Mean wait in G/G/c: `C / (c (1 - rho)) x s x (ca2 + cs2) / 2`.

    `scv` is the variance over the square of the mean: 1 for Poisson arrivals or exponential
    service. Exact for M/M/c; the load is taken as at most 0.999.
    Source: Allen 1990, Probability, Statistics, and Queueing Theory, section 5.3.5
    (Allen-Cunneen).
    """
    load = min(load, 0.999)
    waits = erlang_c(num_servers, load)
    return waits * service_s / (num_servers * (1.0 - load)) * (arrival_scv + service_scv) / 2.0


def wait_quantile_s(
    num_servers: float,
    load: float,
    service_s: float,
    arrival_scv: float,
    service_scv: float,
    probability: float = 0.99,
) -> float:
    """Time that the wait is below with a probability, in G/G/c.

    Exact for M/M/c: a wait exceeds t with `C exp(-c (1 - rho) t / s)`; the same form with the
    Allen-Cunneen factor scaling time. Zero where fewer than `1 - p` of the arrivals wait.
    Source: Gross and Harris 1998, section 2.3; Allen 1990.
    """
    load = min(load, 0.999)
    waits = erlang_c(num_servers, load)
    if waits <= 1.0 - probability:
        return 0.0
    unit = service_s / (num_servers * (1.0 - load)) * (arrival_scv + service_scv) / 2.0
    return unit * math.log(waits / (1.0 - probability))
