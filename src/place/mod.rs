//! The decision: classify → filter (capability) → gate → score → attempt → account.
