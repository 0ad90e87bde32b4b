//! The ledger: what each client was told, held against the promises (order, density, duplicates, completeness).
