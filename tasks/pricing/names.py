"""What sources call the models of our table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

VAST_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "B200": "B200",
        "H200": "H200",
        "H200 NVL": "H200 NVL",
        "H100 SXM": "H100 80GB HBM3",
        "H100 PCIE": "H100 PCIe",
        "H100 NVL": "H100 NVL",
        "L40S": "L40S",
        "L40": "L40",
        "L4": "L4",
        "A40": "A40",
        "A10": "A10",
        "Tesla T4": "Tesla T4",
        "RTX PRO 6000 WS": "RTX PRO 6000 Blackwell",
        "RTX PRO 6000 S": "RTX PRO 6000 Blackwell Server Edition",
        "RTX 6000Ada": "RTX 6000 Ada Generation",
        "RTX 5000Ada": "RTX 5000 Ada Generation",
        "RTX 4000Ada": "RTX 4000 Ada Generation",
        "RTX A6000": "RTX A6000",
        "RTX A5000": "RTX A5000",
        "RTX A4000": "RTX A4000",
        "RTX 5090": "GeForce RTX 5090",
        "RTX 5080": "GeForce RTX 5080",
        "RTX 4090": "GeForce RTX 4090",
        "RTX 4090D": "GeForce RTX 4090 D",
        "RTX 4080": "GeForce RTX 4080",
        "RTX 3090": "GeForce RTX 3090",
        "RTX 3090 Ti": "GeForce RTX 3090 Ti",
        "RTX 3080": "GeForce RTX 3080",
    }
)
"""vast.ai's `gpu_name`. Its A100 names don't tell 40 from 80 GB, so they are left out."""

AKASH_NAMES: Mapping[tuple[str, str, str], str] = MappingProxyType(
    {
        ("b200", "180Gi", "sxm"): "B200",
        ("h200", "141Gi", "sxm"): "H200",
        ("h100", "80Gi", "sxm"): "H100 80GB HBM3",
        ("h100", "80Gi", "pci"): "H100 PCIe",
        ("a100", "80Gi", "sxm"): "A100-SXM4-80GB",
        ("a100", "80Gi", "pci"): "A100 80GB PCIe",
        ("a100", "40Gi", "sxm"): "A100-SXM4-40GB",
        ("rtx5090", "32Gi", "pci"): "GeForce RTX 5090",
        ("rtx4090", "24Gi", "pci"): "GeForce RTX 4090",
        ("rtx3090", "24Gi", "pci"): "GeForce RTX 3090",
        ("rtxa6000", "48Gi", "pci"): "RTX A6000",
        ("l40s", "48Gi", "pci"): "L40S",
        ("l40", "48Gi", "pci"): "L40",
        ("l4", "24Gi", "pci"): "L4",
        ("t4", "16Gi", "pci"): "Tesla T4",
    }
)
"""Akash's model, memory and the first letters of its interface."""
