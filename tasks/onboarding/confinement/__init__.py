"""An executor's own side of confinement: what lies on a machine for validators and renters to come in by."""
