//! The laws that every Meta Flow Map must obey, as functions that any implementation can be run through.
//!
//! | law | what it says |
//! |---|---|
//! | [`identity`] | X_{s,s} = id |
//! | [`semigroup`] | X_{w,u} ∘ X_{s,w} = X_{s,u} |
//! | [`diagonal`] | v_{s,s} is the posterior velocity of a teacher |
//! | [`tangent`] | v_{s,u} → v_{s,s} as u → s: the flow is that of its diagonal |
//! | [`posterior`] | X_{0,1}(ε; t, x_t) ~ p(x1 \| x_t) |
//! | [`forgetful`] | at t = 0 the state does not matter |
//! | [`shared_states`] | states × draws is the same as states repeated |
//!
//! Each returns a [`Failure`](crate::conformance::Failure) with the figure found and the one allowed. The tolerance is the caller's: a few
//! roundings for a closed form, the solver's error for an integrator, what training has reached for a network. A network has `identity`,
//! `shared_states` and, being smooth, `tangent` built in; `forgetful` it has learned of noise alone, which the probe's states must be then.

mod law_of_draws;
mod pointwise;

pub use law_of_draws::{DrawLaw, posterior};
pub use pointwise::{Probe, diagonal, forgetful, identity, semigroup, shared_states, tangent};
