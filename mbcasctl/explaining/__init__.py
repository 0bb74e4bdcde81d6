"""Why a workload has the limit it has: the value that `mbcasctl explain` shows, and what else it could have had."""
