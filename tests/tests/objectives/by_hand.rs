//! Every loss and its gradient against a calculation on plain numbers, in which each role (the student, the frozen map, the frozen residual
//! of an adaptive weight) has parameters of its own: a gradient that leaks through a stop shows.

use crate::gaussian_map::{GaussianMap, PARAMETERS, Plain};
use crate::support::{F64, device, finite_differences, gaussian, normals, relative_error, rows};
use mfm_core::autodiff::Tape;
use mfm_core::interpolant::Linear;
use mfm_core::training::{AdaptiveWeight, Batch, Consistency, Guided, Objective, StopGradient, Velocities};
use mfm_core::{Flow, Lift, Noise, Operations, Result, Tensor};
use mfm_toy2d::exact::MixtureDrift;

const N: usize = 7;
const D: usize = 2;
const DEVIATION: f64 = 0.8;
const TEACHER_MEAN: f64 = 0.2;
const LABELS: [usize; N] = [0, 1, 1, 0, 1, 0, 0];
const NULL: usize = 2;
/// μ, θ, and an offset for each of two labels and none.
const PLACE: [f64; 1 + PARAMETERS + 3] = [0.5, 0.1, -0.2, 0.15, 0.05, 0.3, -0.2, 0.1];

/// What varies from one calculation to the next.
#[derive(Clone, Copy, Debug)]
struct Setting {
    objective: Objective,
    teacher: bool,
    labelled: bool,
    weighted: bool,
}

/// All draws of one loss, as documented by [`Objective::loss`].
struct Batched {
    labels: Vec<usize>,
    t: Vec<f64>,
    state: Vec<f64>,
    diagonal: Flowing,
    off: Flowing,
    gamma: Vec<f64>,
}

/// Times s ≤ u, places I_s, and velocities İ_s.
struct Flowing {
    s: Vec<f64>,
    u: Vec<f64>,
    place: Vec<f64>,
    velocity: Vec<f64>,
}

fn normal(noise: &Noise) -> Vec<f64> {
    let mut out = vec![0.0; N * D];
    noise.fill_normal(&mut out);
    out
}

fn uniform(noise: &Noise) -> Vec<f64> {
    let mut out = vec![0.0; N];
    noise.fill_uniform(&mut out);
    out
}

impl Flowing {
    fn new(s: Vec<f64>, u: Vec<f64>, x0: &[f64], x1: &[f64]) -> Self {
        let place = (0..N * D).map(|i| (1.0 - s[i / D]) * x0[i] + s[i / D] * x1[i]).collect();
        Self { s, u, place, velocity: x1.iter().zip(x0).map(|(x1, x0)| x1 - x0).collect() }
    }
}

impl Batched {
    fn draw(setting: &Setting, x1: &[f64], noise: &Noise) -> Result<Self> {
        let times = setting.objective.times;
        let t = times.states(N, &noise.fork(1))?;
        let x0 = normal(&noise.fork(2));
        let state = (0..N * D).map(|i| (1.0 - t[i / D]) * x0[i] + t[i / D] * x1[i]).collect();
        let (here, there) = (noise.fork(3), noise.fork(4));
        let s = times.diagonal(N, &here)?;
        let diagonal = Flowing::new(s.clone(), s, &normal(&here.stream(2)), x1);
        let (s, u) = times.pairs(N, &there)?;
        let off = Flowing::new(s, u, &normal(&there.stream(2)), x1);
        let dropped = uniform(&noise.fork(0));
        let dropout = setting.objective.guided.map_or(0.0, |g| g.dropout);
        let labels = LABELS.iter().zip(dropped).map(|(label, u)| if u < dropout { NULL } else { *label }).collect();
        Ok(Self { labels, t, state, diagonal, off, gamma: uniform(&there.stream(3)) })
    }
}

/// The derivative of a function of one number, by central differences of fourth order.
fn slope(f: impl Fn(f64) -> f64) -> f64 {
    let h = 1e-3;
    (f(-2.0 * h) - 8.0 * f(-h) + 8.0 * f(h) - f(2.0 * h)) / (12.0 * h)
}

/// One coordinate of one item, with each role's map.
struct Item<'a> {
    setting: &'a Setting,
    student: Plain,
    frozen: Plain,
    /// ω (v(·, y) − v(·, ∅)) of the frozen map.
    shift: f64,
    t: f64,
    state: f64,
}

impl Item<'_> {
    fn v(&self, map: &Plain, s: f64, u: f64, x: f64) -> f64 {
        map.velocity(s, u, x, self.t, self.state)
    }

    /// The velocity at s of the data or the teacher, guided.
    fn given(&self, s: f64, x: f64, data: f64) -> f64 {
        let teacher = Plain { deviation: DEVIATION, mean: TEACHER_MEAN, theta: [0.0; PARAMETERS], offset: 0.0 };
        if self.setting.teacher { self.v(&teacher, s, s, x) } else { self.shift + data }
    }

    fn diagonal(&self, s: f64, x: f64, data: f64) -> f64 {
        self.v(&self.student, s, s, x) - self.given(s, x, data)
    }

    fn off(&self, (s, u): (f64, f64), x: f64, data: f64, gamma: f64) -> f64 {
        let span = u - s;
        let eulerian = |w: f64| w + span * slope(|h| self.v(&self.frozen, s + h, u, x + h * w));
        let jump = |map: &Plain| self.v(map, s, u, x) + span * slope(|h| self.v(map, s, u + h, x));
        let end = |map: &Plain| x + span * self.v(map, s, u, x);
        match self.setting.objective.consistency {
            Consistency::None => 0.0,
            Consistency::Semigroup => {
                let w = s + gamma * span;
                let first = self.v(&self.frozen, s, w, x);
                let second = self.v(&self.frozen, w, u, x + (w - s) * first);
                self.v(&self.student, s, u, x) - (gamma * first + (1.0 - gamma) * second)
            }
            Consistency::MeanFlow => self.v(&self.student, s, u, x) - eulerian(self.given(s, x, data)),
            Consistency::Eulerian => {
                let w = if self.setting.teacher { self.given(s, x, data) } else { self.v(&self.frozen, s, s, x) };
                self.v(&self.student, s, u, x) - eulerian(w)
            }
            Consistency::Lagrangian(stop) => {
                let jump = jump(if stop == StopGradient::Jump { &self.frozen } else { &self.student });
                let there = match (self.setting.teacher, stop) {
                    (true, _) => self.given(u, end(&self.frozen), 0.0),
                    (false, StopGradient::Velocity) => self.v(&self.frozen, u, u, end(&self.frozen)),
                    (false, _) => self.v(&self.student, u, u, end(&self.student)),
                };
                there - jump
            }
        }
    }
}

/// The diagonal and the consistency loss with the student at `student`, everything frozen at `PLACE`.
fn by_hand(setting: &Setting, batch: &Batched, student: &[f64]) -> [f64; 2] {
    let plain = |p: &[f64], label: usize| Plain {
        deviation: DEVIATION,
        mean: p[0],
        theta: [p[1], p[2], p[3], p[4]],
        offset: if setting.labelled { p[1 + PARAMETERS + label] } else { 0.0 },
    };
    let item = |p: &[f64], i: usize| {
        let (row, label) = (i / D, batch.labels[i / D]);
        let omega = setting.objective.guided.filter(|_| setting.labelled).map_or(0.0, |g| 1.0 - 1.0 / g.scale);
        let shift = omega * (PLACE[1 + PARAMETERS + label] - PLACE[1 + PARAMETERS + NULL]);
        Item { setting, student: plain(p, label), frozen: plain(&PLACE, label), shift, t: batch.t[row], state: batch.state[i] }
    };
    let residual = |p: &[f64], i: usize, off: bool| {
        let (flow, row) = (if off { &batch.off } else { &batch.diagonal }, i / D);
        let (s, u, x, data) = (flow.s[row], flow.u[row], flow.place[i], flow.velocity[i]);
        if off { item(p, i).off((s, u), x, data, batch.gamma[row]) } else { item(p, i).diagonal(s, x, data) }
    };
    [false, true].map(|off| {
        let adaptive = if off { setting.objective.consistency_weight } else { setting.objective.diagonal_weight };
        let square = |p: &[f64], row: usize| (row * D..(row + 1) * D).map(|i| residual(p, i, off).powi(2)).sum::<f64>();
        let flow = if off { &batch.off } else { &batch.diagonal };
        let weight = |row: usize| {
            // A Lagrangian residual is a velocity at u.
            let lagrangian = matches!(setting.objective.consistency, Consistency::Lagrangian(_));
            let time = if off && lagrangian { flow.u[row] } else { flow.s[row] };
            let own = if setting.weighted { 1.0 + time + 2.0 * batch.t[row] } else { 1.0 };
            own * (own * square(&PLACE, row) + adaptive.offset).powf(-adaptive.power)
        };
        (0..N).map(|row| weight(row) * square(student, row)).sum::<f64>() / N as f64
    })
}

fn check(setting: Setting) -> Result<()> {
    let x1: Vec<f64> = normals(N * D, 40).iter().map(|z| 0.5 + DEVIATION * z).collect();
    let noise = Noise::new(41);
    let [mean, theta @ .., a, b, c] = PLACE;
    let map = GaussianMap { weighted: setting.weighted, ..GaussianMap::new(&device(), DEVIATION, mean, theta, &[a, b, c])? };
    let tape = Tape::new();
    let student = map.lift(&mut |p: &F64| Ok(tape.variable(p.clone())))?;
    let (flow, clean): (_, F64) = (Flow::new(&map, &Linear), rows(&device(), &x1, D)?);
    let batch = Batch { x1: &clean, labels: setting.labelled.then_some(&LABELS[..]) };
    let teacher = MixtureDrift::new(&gaussian(&[TEACHER_MEAN; D], DEVIATION * DEVIATION)?, &Linear);
    let velocities = if setting.teacher { Velocities::Teacher(&teacher) } else { Velocities::Data };
    let losses = setting.objective.loss(&flow, &student, velocities, batch, &noise)?;
    let gradients = tape.backward(&losses.total, losses.total.value().zeros_like()?.shift(1.0)?)?;
    let mut gradient = Vec::new();
    for parameter in [&student.mean, &student.theta, &student.offsets] {
        gradient.extend(gradients.of_or_zeros(parameter)?.to_vec::<f64>()?);
    }
    let drawn = Batched::draw(&setting, &x1, &noise)?;
    let [diagonal, off] = by_hand(&setting, &drawn, &PLACE);
    let found = [&losses.diagonal, &losses.consistency, losses.total.value()].map(|x| x.to_vec::<f64>().map(|v| v[0]));
    for (found, expected) in found.into_iter().zip([diagonal, off, diagonal + off]) {
        let found = found?;
        assert!((found - expected).abs() < 1e-9 * (1.0 + expected), "{setting:?}: {found} against {expected}");
    }
    let expected = finite_differences(&PLACE, 1e-3, |p| Ok(vec![by_hand(&setting, &drawn, p).iter().sum()]))?;
    let error = relative_error(&gradient, &expected, 0.1);
    assert!(error < 1e-7, "{setting:?}: {gradient:?} against {expected:?}");
    Ok(())
}

const KINDS: [Consistency; 7] = [
    Consistency::None,
    Consistency::Semigroup,
    Consistency::MeanFlow,
    Consistency::Eulerian,
    Consistency::Lagrangian(StopGradient::Jump),
    Consistency::Lagrangian(StopGradient::Velocity),
    Consistency::Lagrangian(StopGradient::Neither),
];

fn settings() -> impl Iterator<Item = Setting> {
    let kinds = KINDS.into_iter().flat_map(|consistency| [false, true].map(|teacher| (consistency, teacher)));
    // With a teacher the gradient must flow through the jump: that one is refused, see `consistent`.
    kinds.filter(|kind| *kind != (Consistency::Lagrangian(StopGradient::Jump), true)).map(|(consistency, teacher)| Setting {
        objective: Objective { consistency, ..Objective::default() },
        teacher,
        labelled: false,
        weighted: false,
    })
}

#[test]
fn losses_and_gradients_are_those_of_the_formulas() -> Result<()> {
    settings().try_for_each(check)
}

#[test]
fn weights_are_detached() -> Result<()> {
    let (diagonal, off) = (AdaptiveWeight { offset: 0.01, power: 0.5 }, AdaptiveWeight { offset: 0.05, power: 1.0 });
    settings().try_for_each(|mut setting| {
        setting.objective.diagonal_weight = diagonal;
        setting.objective.consistency_weight = off;
        setting.weighted = true;
        check(setting)
    })
}

// Labels dropped with probability 0.4 (of the seven here, some are and some are not), and targets moved towards the label by ω = 1 − 1/2.5.
#[test]
fn labels_are_dropped_and_velocities_guided() -> Result<()> {
    let guided = Guided { null_label: NULL, dropout: 0.4, scale: 2.5, plain: None };
    let some = Setting {
        objective: Objective { guided: Some(guided), ..Objective::default() },
        ..settings().last().into_iter().collect::<Vec<_>>()[0]
    };
    let labels = Batched::draw(&some, &[0.0; N * D], &Noise::new(41))?.labels;
    assert!(labels.contains(&NULL) && labels.iter().any(|label| *label != NULL), "{labels:?}");
    settings().try_for_each(|mut setting| {
        setting.labelled = true;
        check(setting)?;
        setting.objective.guided = Some(guided);
        check(setting)?;
        // No guidance, only dropout; and every label dropped.
        setting.objective.guided = Some(Guided { scale: 1.0, ..guided });
        check(setting)?;
        setting.objective.guided = Some(Guided { dropout: 1.0, ..guided });
        check(setting)
    })
}
