"""The ledger of notices: their content, their records, their sending."""
