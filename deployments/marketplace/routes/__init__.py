"""The routes, a module for each noun: they take a request apart, call the rules, and answer."""

from deployments.marketplace.routes import (
    backups,
    console,
    health,
    keys,
    leases,
    money,
    offers,
    operations,
    templates,
    volumes,
    webhooks,
)

ROUTERS = tuple(
    module.router
    for module in (
        health,
        offers,
        leases,
        operations,
        console,
        volumes,
        backups,
        templates,
        keys,
        webhooks,
        money,
    )
)
