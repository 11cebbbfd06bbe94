"""The marketplace's pages: HTML made here of what the API's own rules say, one stylesheet, one small script, nothing from elsewhere."""

from deployments.marketplace.pages import (
    account,
    browse,
    console,
    enrolling,
    hooks,
    hotkeys,
    keeping,
    leases,
    logs,
    metering,
    mining,
    network,
    operating,
    passkeys,
    renting,
    signing,
)

PAGES = (
    browse.router,
    network.router,
    signing.router,
    hotkeys.router,
    enrolling.router,
    passkeys.router,
    account.router,
    hooks.router,
    renting.router,
    logs.router,
    console.router,
    keeping.router,
    metering.router,
    leases.router,
    mining.router,
    operating.router,
)
