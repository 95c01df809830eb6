"""Reports: a SELECT and a frozen answer each."""
