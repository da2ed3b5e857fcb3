//! The network alone: value, map, directional derivative, gradients, and K-step samples.

use crate::file::{Bench, Real};
use mfm_core::autodiff::{Dual, Tape, Var};
use mfm_core::interpolant::Linear;
use mfm_core::sample::posterior_by_steps;
use mfm_core::{Condition, Flow, Lift, MetaFlowMap, Query, Result, Tensor, TimeGrid};
use mfm_cpu_ref::CpuTensor;
use mfm_nn::Module;

/// The inputs that most comparisons share.
pub struct Inputs<E: Real> {
    pub labels: Vec<usize>,
    pub scales: Vec<f64>,
    pub query: [CpuTensor<E>; 5],
}

impl<E: Real> Inputs<E> {
    pub fn new(bench: &Bench<'_, E>) -> Result<Self> {
        let [s, u, x, t, x_t] = ["in.s", "in.u", "in.x", "in.t", "in.x_cond"].map(|name| bench.tensor(name));
        Ok(Self { labels: bench.golden.labels("in.label"), scales: bench.golden.host("in.cfg_scale"), query: [s?, u?, x?, t?, x_t?] })
    }

    pub fn condition(&self) -> Condition<'_> {
        let mut condition = Condition::labels(&self.labels);
        condition.guidance = Some(&self.scales);
        condition
    }

    fn query<T: Tensor>(&self, mut carry: impl FnMut(usize, &CpuTensor<E>) -> Result<T>) -> Result<Query<'_, T>> {
        let [s, u, x, t, x_t] = &self.query;
        let (s, u, x) = (carry(0, s)?, carry(1, u)?, carry(2, x)?);
        Ok(Query { s, u, x, t: carry(3, t)?, x_t: carry(4, x_t)?, condition: self.condition() })
    }
}

pub fn check<E: Real>(bench: &Bench<'_, E>) -> Result<()> {
    let (inputs, student) = (Inputs::new(bench)?, bench.network("student")?);
    let query = inputs.query(|_, x| Ok(x.clone()))?;
    bench.compare("forward.v", &student.velocity(&query)?)?;
    bench.compare("forward.X", &student.map(&query)?)?;

    let moving = student.lift(&mut |p| Ok(Dual::constant(p.clone())))?;
    let tangents = [bench.tensor("jvp.ds")?, bench.tensor("jvp.du")?, bench.tensor("jvp.dx")?];
    let query = inputs.query(|i, x| match tangents.get(i) {
        Some(tangent) => Dual::new(x.clone(), tangent.clone()),
        None => Ok(Dual::constant(x.clone())),
    })?;
    let (value, tangent) = moving.velocity(&query)?.into_parts();
    bench.compare("forward.v", &value)?;
    bench.compare("jvp.tangent", &tangent.ok_or(mfm_core::Error::Independent { op: "velocity" })?)?;

    let tape = Tape::new();
    let tracked = student.lift(&mut |p| Ok(tape.variable(p.clone())))?;
    let query = inputs.query(|i, x| Ok(if i == 2 || i == 4 { tape.variable(x.clone()) } else { Var::constant(x.clone()) }))?;
    let gradients = tape.backward(&tracked.velocity(&query)?, bench.tensor("vjp.cotangent")?)?;
    bench.compare("vjp.x", &gradients.of(&query.x)?)?;
    bench.compare("vjp.x_cond", &gradients.of(&query.x_t)?)?;
    for (name, parameter) in tracked.parameters() {
        bench.compare(&format!("vjp.param.model.dit.{name}"), &gradients.of(&parameter)?)?;
    }

    let eps = bench.tensor("sample.eps")?;
    let [_, _, _, t, x_t] = &inputs.query;
    let noises: Vec<usize> =
        bench.golden.names().iter().filter_map(|name| name.strip_prefix("sample.posterior.steps")?.parse().ok()).collect();
    for steps in noises {
        let name = format!("sample.posterior.steps{steps}");
        let one = student.posterior(&eps, t, x_t, inputs.condition())?;
        // Each state has a time of its own, and a grid of flow times serves all.
        let device = &bench.device;
        let times = TimeGrid::uniform(steps).times(&Linear)?;
        let last = times.windows(2).try_fold(eps.clone(), |x, pair| {
            let (s, u) = (mfm_core::flow_map::time(device, pair[0])?, mfm_core::flow_map::time(device, pair[1])?);
            student.map(&Query { s, u, x, t: t.clone(), x_t: x_t.clone(), condition: inputs.condition() })
        })?;
        bench.compare(&name, if steps == 1 { &one } else { &last })?;
        // The sampler itself, state by state.
        let flow = Flow::new(&student, &Linear).with_condition(inputs.condition());
        let mut parts = Vec::new();
        for (i, t) in t.to_vec::<f64>()?.into_iter().enumerate() {
            let flow = flow.with_condition(flow.condition.states(i, 1));
            parts.push(posterior_by_steps(&flow, &TimeGrid::uniform(steps), &eps.slice(0, i, 1)?, t, &x_t.slice(0, i, 1)?)?);
        }
        bench.compare(&name, &CpuTensor::concat(&parts.iter().collect::<Vec<_>>(), 0)?)?;
    }
    Ok(())
}
