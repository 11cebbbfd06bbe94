"""What a validator and its market are at, as figures that Prometheus reads; a dashboard of them for Grafana is `dashboard.json`."""
