"""What a call, an image, a second or a gigabyte costs at a date.

A `PriceBook` answers: what the provider reported > the reader's own price > prices.toml > genai-prices > unknown.
Nothing that was reported is ever priced at 0 for want of a price.
"""

from orchestrator.pricing.book import Listing, PriceBook, Priced
from orchestrator.pricing.rates import UNITS, Rates, charge, configured_rates

__all__ = ["UNITS", "Listing", "PriceBook", "Priced", "Rates", "charge", "configured_rates"]
