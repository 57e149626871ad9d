"""Which version serves: gate, evidence, ledger, promote, rollback, verify."""
