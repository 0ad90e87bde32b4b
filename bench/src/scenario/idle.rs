//! `idle`: sessions that are held with heartbeats alone; what each costs.
