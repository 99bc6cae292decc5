//! A sandbox as its users have it: one process holds it, and commands of others break and mend it.
//!
//! Whether a fault is in force is asked by SQL over the printed addresses, never of the sandbox itself.

mod faults;
mod folder;
mod held;
mod roles;
