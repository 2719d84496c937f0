"""The ledger: an append-only Merkle log of every act. Its core is pure Python."""
